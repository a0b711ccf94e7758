//! Questions about the form of a part of an expression.

use cel::common::ast::{Expr, IdedExpr, operators};

/// Whether this is `request.headers`.
pub(super) fn is_header_list(part: Option<&IdedExpr>) -> bool {
    let Some(Expr::Select(select)) = part.map(|part| &part.expr) else {
        return false;
    };
    select.field == "headers"
        && matches!(&select.operand.expr, Expr::Ident(name) if name == "request")
}

/// Whether a loop over this runs as often as a list in the request or in the text is long.
pub(super) fn is_plain_range(range: &IdedExpr) -> bool {
    match &range.expr {
        Expr::Ident(_) | Expr::Select(_) | Expr::List(_) => true,
        Expr::Call(call) if call.func_name == operators::INDEX => true,
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
            call.args.iter().skip(1).all(is_plain_range)
        }
        _ => false,
    }
}
