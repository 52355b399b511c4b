# shellcheck shell=bash
# Makes sure that cargo and a Vulkan driver are there. Sourced by demo.sh and test.sh, from any folder.

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "neither root nor sudo; as root, run: $*"
    fi
}

need_cargo() {
    have cargo || PATH="$HOME/.cargo/bin:$PATH"
    have cargo || die "cargo is not on the PATH; install Rust from https://rustup.rs and run this again"
}

# Whether a shared library is where the system's linker looks for it.
has_library() {
    PATH="$PATH:/usr/sbin:/sbin" ldconfig -p 2>/dev/null | grep -qF "$1" && return 0
    local folder folders
    IFS=: read -r -a folders <<<"${LD_LIBRARY_PATH:-}"
    for folder in "${folders[@]}" /usr/lib /usr/lib64 /usr/lib/*-linux-gnu /usr/local/lib; do
        if [ -n "$folder" ] && [ -e "$folder/$1" ]; then return 0; fi
    done
    return 1
}

# Paths of the manifests of all Vulkan drivers, one per line.
manifests() {
    local listed="${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}" folder
    if [ -n "$listed" ]; then
        tr ':' '\n' <<<"$listed"
        return
    fi
    for folder in /usr/share/vulkan /usr/local/share/vulkan /etc/vulkan "${XDG_DATA_HOME:-$HOME/.local/share}/vulkan"; do
        if [ -d "$folder/icd.d" ]; then find -L "$folder/icd.d" -name '*.json'; fi
    done
}

# Whether a driver can work here: its library is installed and, unless it runs on the processor, there is a GPU.
usable() {
    [ -r "$1" ] || return 1
    local library node
    library=$(sed -n 's/.*"library_path"[^"]*"\([^"]*\)".*/\1/p' "$1")
    case "$library" in
        '') return 1 ;;
        /*) [ -e "$library" ] || return 1 ;;
        */*) [ -e "$(dirname -- "$1")/$library" ] || return 1 ;;
        *) has_library "$library" || return 1 ;;
    esac
    case "$library" in *lvp* | *swrast* | *swiftshader*) return 0 ;; esac
    for node in /dev/dri/renderD* /dev/nvidiactl /dev/dxg /dev/kgsl-3d0 /dev/mali0; do
        if [ -e "$node" ]; then return 0; fi
    done
    return 1
}

vulkan_ready() {
    # Metal and DX12 come with the system.
    case "$(uname -s)" in Darwin | MINGW* | MSYS* | CYGWIN*) return 0 ;; esac
    has_library libvulkan.so.1 || return 1
    local manifest
    while IFS= read -r manifest; do
        if usable "$manifest"; then return 0; fi
    done < <(manifests)
    return 1
}

need_vulkan() {
    if vulkan_ready; then return; fi
    say "no GPU driver for Vulkan found; the software driver (Mesa's lavapipe) runs everything on the processor, slowly"
    local install answer
    if have apt-get; then
        install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1)
    elif have dnf; then
        install=(dnf install -y mesa-vulkan-drivers vulkan-loader)
    elif have pacman; then
        install=(pacman -S --needed --noconfirm vulkan-swrast vulkan-icd-loader)
    elif have zypper; then
        install=(zypper --non-interactive install libvulkan_lvp libvulkan1)
    else
        die "no apt-get, dnf, pacman or zypper; install a Vulkan driver and the Vulkan loader by hand"
    fi
    say "to install it: ${install[*]}"
    if [ -t 0 ] && [ -z "${CI:-}" ]; then
        read -r -p "Install it now? [Y/n] " answer
        case "$answer" in '' | [Yy]*) ;; *) die "nothing installed; install a Vulkan driver and run this again" ;; esac
    fi
    if have apt-get; then as_root apt-get update || say "apt-get update failed; going on with the lists there are"; fi
    as_root "${install[@]}"
    vulkan_ready || die "there is still no usable Vulkan driver (VK_DRIVER_FILES=${VK_DRIVER_FILES:-}, VK_ICD_FILENAMES=${VK_ICD_FILENAMES:-})"
}

need_cargo
need_vulkan
