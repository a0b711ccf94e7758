//! The types of an expression's parts, as far as its text shows them.

use std::fmt;

/// The type of a part of an expression, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Anything, as the request will have it.
    Any,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    List,
    Object,
    /// An object of texts.
    Query,
    Null,
    Time,
    Duration,
    /// A type itself, such as `string`.
    Kind,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "a value of the request",
            Self::Bool => "a boolean",
            Self::Int => "an int",
            Self::Uint => "a uint",
            Self::Double => "a double",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object | Self::Query => "an object",
            Self::Null => "null",
            Self::Time => "a timestamp",
            Self::Duration => "a duration",
            Self::Kind => "a type",
        })
    }
}

impl Type {
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    pub(super) fn may_be(self, other: Self) -> bool {
        self == Self::Any || other == Self::Any || self == other
    }

    pub(super) fn is_one_of(self, types: &[Self]) -> bool {
        types.iter().any(|other| self.may_be(*other))
    }

    /// Whether the two can ever be equal.
    pub(super) fn compares_with(self, other: Self) -> bool {
        let objects = [Self::Object, Self::Query];
        self.may_be(other)
            || (self.is_number() && other.is_number())
            || (objects.contains(&self) && objects.contains(&other))
    }
}
