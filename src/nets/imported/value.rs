//! What the values of a file turn out to be.

use super::form::Form;
use super::step::Id;
use crate::weights::{Constant, TensorView};

/// Why an operation cannot be read, and what would avoid it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    /// There is no such operation here.
    Operator(Option<&'static str>),
    /// It is given something that is not read, in words.
    Given(String),
    /// It makes the network a transformer.
    Attention,
    /// It depends on what has been refused already.
    Unknown,
}

impl From<String> for Refusal {
    fn from(words: String) -> Self {
        Refusal::Given(words)
    }
}

impl From<&str> for Refusal {
    fn from(words: &str) -> Self {
        Refusal::Given(words.to_owned())
    }
}

/// What an operation becomes, or why it does not.
pub(super) type Found<T = Value> = Result<T, Refusal>;

/// A value of the file.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// One that depends on the picture.
    Picture(Picture),
    /// One that is in the file, or follows from its sizes.
    Fixed(Fixed),
    /// One that depends on something that cannot be read.
    Unknown,
}

/// A value that depends on the picture.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub id: Id,
    pub form: Form,
    /// Zeros that are to be put around it, [top, left] and [bottom, right].
    pub padding: [[usize; 2]; 2],
}

/// A value that does not: a tensor of the file, as far as it is one, and its numbers, as far as they are few.
#[derive(Clone, Debug, Default)]
pub(super) struct Fixed {
    pub view: Option<TensorView>,
    pub constant: Option<Constant>,
}

impl Picture {
    /// Checks that no zeros are still to be put around it.
    pub fn without_padding(&self) -> Found<()> {
        match self.padding {
            [[0, 0], [0, 0]] => Ok(()),
            _ => Err("comes behind zeros put around a picture, which only a convolution takes in".into()),
        }
    }
}

impl Fixed {
    /// Numbers that have been computed.
    pub fn of(constant: Constant) -> Self {
        Fixed { view: None, constant: Some(constant) }
    }

    pub fn sizes(&self) -> Option<Vec<usize>> {
        let view = self.view.as_ref().map(|view| view.sizes.clone());
        view.or_else(|| self.constant.as_ref().map(|constant| constant.shape.clone()))
    }
}
