# To be sourced: a folder with the packages of the other engines, made once. Sets `folder` and `python`.
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/entoptic-peers}
python=$folder/venv/bin/python
if [ ! -x "$python" ]; then
    python3 -m venv "$folder/venv"
    "$python" -m pip install --quiet torch==2.8.0 torchvision==0.23.0 onnx==1.19.1 ncnn==1.0.20261020 pnnx==20261020 \
        tinygrad==0.14.0 dawn-python==0.3.0
fi
