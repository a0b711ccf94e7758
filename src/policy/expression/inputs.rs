//! What an expression may look at, and its form inside an evaluation.

use std::sync::OnceLock;

use cel::common::{
    types::{CelList, CelString},
    value::Val,
};
use http::HeaderMap;

use super::{body, error::EvalError, names::Names, value::Root};
use crate::referral::State;

/// What an expression may look at.
///
/// The body and the query are converted once, when the first expression needs them, so change neither afterwards. What
/// is known of the referral may be added later.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The method.
    pub method: &'a str,
    /// The name of the route.
    pub route: &'a str,
    /// The header section. Expressions see the names only.
    pub headers: &'a HeaderMap,
    /// The query of the target, as it came.
    pub query: Option<&'a str>,
    /// The claim `appid` or `azp` of the token; empty if there is none.
    pub application: &'a str,
    /// The body, if it was read.
    pub body: Option<&'a [u8]>,
    /// Where the referral stands, if that is known.
    pub referral: Option<&'a State>,
    /// The configured alias of the tenant; empty if there is none.
    pub tenant_alias: &'a str,
    /// The id of the tenant.
    pub tenant_id: &'a str,
    /// The names that the expressions of the policy use, of every one that is evaluated on this.
    pub names: &'a Names,
    /// What has been converted so far.
    pub converted: &'a Converted,
}

/// Body, query and header names in the form in which expressions see them, filled when first needed.
#[derive(Debug, Default)]
pub struct Converted {
    pub(super) body: OnceLock<Result<Root, EvalError>>,
    query: OnceLock<Result<Root, EvalError>>,
    headers: OnceLock<CelList<'static>>,
}

impl Inputs<'_> {
    /// How many bytes of the request a mention of anything but the body can cost.
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
