//! The operators: how they are written, and which types they take.

use cel::common::ast::operators;

use super::types::Type;

/// Operators as the crate calls them, and as they are written.
pub(super) const OPERATORS: [(&str, &str); 19] = [
    (operators::CONDITIONAL, "?:"),
    (operators::LOGICAL_AND, "&&"),
    (operators::LOGICAL_OR, "||"),
    (operators::LOGICAL_NOT, "!"),
    (operators::SUBSTRACT, "-"),
    (operators::ADD, "+"),
    (operators::MULTIPLY, "*"),
    (operators::DIVIDE, "/"),
    (operators::MODULO, "%"),
    (operators::EQUALS, "=="),
    (operators::NOT_EQUALS, "!="),
    (operators::GREATER_EQUALS, ">="),
    (operators::LESS_EQUALS, "<="),
    (operators::GREATER, ">"),
    (operators::LESS, "<"),
    (operators::NEGATE, "-"),
    (operators::INDEX, "[]"),
    (SELECT, "."),
    (operators::IN, "in"),
];

/// What the crate calls the selection of a member in its errors.
const SELECT: &str = "_._";

/// An operator or function as it is written.
pub(super) fn written(name: &str) -> &str {
    OPERATORS
        .iter()
        .find(|(operator, _)| *operator == name)
        .map_or(name, |(_, written)| written)
}

/// The type of an operator's result; `None` if it does not take operands of these types.
pub(super) fn operation(operator: &str, operands: &[Type]) -> Option<Type> {
    use Type::{
        Any, Bool, Double, Duration, Int, Kind, List, Null, Object, Query, Text, Time, Uint,
    };

    let ordered = |a: Type, b: Type| {
        a.compares_with(b)
            && [a, b]
                .iter()
                .all(|kind| !matches!(kind, List | Object | Query | Null | Kind))
    };
    match (operator, operands) {
        (operators::LOGICAL_NOT, [a]) => a.may_be(Bool).then_some(Bool),
        (operators::LOGICAL_AND | operators::LOGICAL_OR, [a, b]) => {
            (a.may_be(Bool) && b.may_be(Bool)).then_some(Bool)
        }
        (operators::CONDITIONAL, [condition, a, b]) if condition.may_be(Bool) => match (a, b) {
            (a, b) if a == b => Some(*a),
            (Any | Null, _) | (_, Any | Null) => Some(Any),
            (Object | Query, Object | Query) => Some(Object),
            _ => None,
        },
        (operators::EQUALS | operators::NOT_EQUALS, [a, b]) => a.compares_with(*b).then_some(Bool),
        (
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS,
            [a, b],
        ) => ordered(*a, *b).then_some(Bool),
        (operators::IN, [_, Any | List]) | (operators::IN, [Any | Text, Object | Query]) => {
            Some(Bool)
        }
        (operators::INDEX, [Any, _]) => Some(Any),
        (operators::INDEX, [List, index]) => index.is_one_of(&[Int, Uint, Double]).then_some(Any),
        (operators::INDEX, [Object, Any | Text]) => Some(Any),
        (operators::INDEX, [Query, Any | Text]) => Some(Text),
        (operators::NEGATE, [a]) => a.is_one_of(&[Int, Double]).then_some(*a),
        (operators::ADD, [Time, Duration] | [Duration, Time]) => Some(Time),
        (operators::SUBSTRACT, [Time, Time]) => Some(Duration),
        (operators::SUBSTRACT, [Time, Duration]) => Some(Time),
        (operators::ADD, [a, b]) => same(*a, *b, &[Int, Uint, Double, Text, List, Time, Duration]),
        (operators::SUBSTRACT, [a, b]) => same(*a, *b, &[Int, Uint, Double, Time, Duration]),
        (operators::MULTIPLY | operators::DIVIDE, [a, b]) => same(*a, *b, &[Int, Uint, Double]),
        (operators::MODULO, [a, b]) => same(*a, *b, &[Int, Uint]),
        _ => None,
    }
}

/// The type of the result of two values of one of these types.
fn same(a: Type, b: Type, types: &[Type]) -> Option<Type> {
    let moments = [Type::Time, Type::Duration];
    let known = if a == Type::Any { b } else { a };
    let fits = a.may_be(b) && a.is_one_of(types) && b.is_one_of(types);
    match (a, b) {
        // Two timestamps cannot be added, but a timestamp and something that turns out to be a duration can.
        (Type::Time, Type::Time) => None,
        (Type::Any, _) | (_, Type::Any) if moments.contains(&known) => fits.then_some(Type::Any),
        _ => fits.then_some(known),
    }
}
