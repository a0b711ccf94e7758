//! The inputs of an expression, and their form inside an evaluation.

use std::sync::OnceLock;

use cel::common::{
    types::{CelList, CelString},
    value::Val,
};
use http::HeaderMap;

use super::{body, error::EvalError, names::Names, value::Root};
use crate::referral::State;

/// The inputs of an expression.
///
/// The body and the query are converted once, when the first expression needs them; do not change them afterwards. The
/// state of the referral may be added later.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The method.
    pub method: &'a str,
    /// The name of the route.
    pub route: &'a str,
    /// The header section. Expressions see the names only.
    pub headers: &'a HeaderMap,
    /// The query of the target, as received.
    pub query: Option<&'a str>,
    /// The claim `appid` or `azp` of the token; empty if there is none.
    pub application: &'a str,
    /// The body, if it was read.
    pub body: Option<&'a [u8]>,
    /// The state of the referral, if it is known.
    pub referral: Option<&'a State>,
    /// The configured alias of the tenant; empty if there is none.
    pub tenant_alias: &'a str,
    /// The id of the tenant.
    pub tenant_id: &'a str,
    /// The names in all expressions that are evaluated on these inputs.
    pub names: &'a Names,
    /// The parts that are converted already.
    pub converted: &'a Converted,
}

/// Body, query and header names as expressions see them, filled on first use.
#[derive(Debug, Default)]
pub struct Converted {
    pub(super) body: OnceLock<Result<Root, EvalError>>,
    query: OnceLock<Result<Root, EvalError>>,
    headers: OnceLock<CelList<'static>>,
}

impl Inputs<'_> {
    /// The most bytes of the request, without the body, that one mention in an expression can cost.
    pub(super) fn records(&self) -> usize {
        let headers = self.headers.keys().map(|name| name.as_str().len());
        self.query.map_or(0, str::len)
            + self.application.len()
            + self.tenant_id.len()
            + headers.sum::<usize>()
    }

    pub(super) fn body(&self) -> Result<&Root, EvalError> {
        let body = self.converted.body.get_or_init(|| {
            let members = body::read(self.body.ok_or(EvalError::Unread)?, self.method)?;
            Ok(Root::of(members, self.names))
        });
        body.as_ref().map_err(Clone::clone)
    }

    pub(super) fn query(&self) -> Result<&Root, EvalError> {
        let query = self.converted.query.get_or_init(|| {
            let members = body::read_query(self.query.unwrap_or_default())?;
            Ok(Root::of(members, self.names))
        });
        query.as_ref().map_err(Clone::clone)
    }

    pub(super) fn headers(&self) -> &CelList<'static> {
        self.converted.headers.get_or_init(|| {
            let names = self.headers.keys().map(|name| -> Box<dyn Val> {
                Box::new(CelString::from(name.as_str().to_owned()))
            });
            CelList::from(names.collect::<Vec<_>>())
        })
    }
}
