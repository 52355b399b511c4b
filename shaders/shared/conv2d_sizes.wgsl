    // conv2d_sizes: the sizes of a convolution, with which each of its Params begins.
    n: u32,         // pictures
    h: u32,         // input height
    w: u32,
    c_in: u32,      // input channel groups
    oh: u32,        // output height
    ow: u32,
    c_out: u32,     // output channel groups
    kh: u32,        // kernel height
    kw: u32,
    stride_h: u32,
    stride_w: u32,
    pad_h: u32,     // zeros above and to the left
    pad_w: u32,
    dilation_h: u32, // from a tap to the next, in x
    dilation_w: u32,
    step_h: u32,    // from a tap that sees a pixel of a phase to the next that does
    step_w: u32,
