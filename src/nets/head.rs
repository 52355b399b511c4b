//! The classifiers of a network.

/// Where logits come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Head {
    /// The classifier at the end.
    #[default]
    Main,
    /// GoogLeNet's head on inception4a.
    Aux1,
    /// GoogLeNet's head on inception4d.
    Aux2,
    /// InceptionV3's head on Mixed_6e; its picture must be large enough for a 5x5 window there, as 299 is.
    Aux,
}

impl Head {
    /// Every head.
    pub const ALL: [Head; 4] = [Head::Main, Head::Aux1, Head::Aux2, Head::Aux];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Head::Main => "main",
            Head::Aux1 => "aux1",
            Head::Aux2 => "aux2",
            Head::Aux => "aux",
        }
    }
}
