//! Values that the `cel` crate lacks: objects with case-insensitive member names, and compiled patterns.

use std::{
    any::Any,
    collections::btree_map::{BTreeMap, Values},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use cel::{
    ExecutionError,
    common::{
        traits::{self, Container, Indexer, Iterable, Sizer},
        types::{CelBool, CelDouble, CelInt, CelList, CelNull, CelString, CelUInt, MAP_TYPE, Type},
        value::{CowVal, StaticVal, Val},
    },
};
use regex::Regex;

use super::{
    body::{Json, Members},
    limits::MAX_MATCHED,
    names::Names,
};
use crate::referral::{folded, is_plain};

/// An object in the form in which expressions see it.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) object: Object,
    /// The length of the longest list or object in it.
    pub(super) longest: usize,
}

impl Root {
    pub(super) fn of(members: Members, names: &Names) -> Self {
        let mut longest = 0;
        let object = Object::of(members, names, &mut longest);
        Self { object, longest }
    }
}

/// The name of the error for a member that is present, but spelled with look-alike letters.
pub(super) const LOOK_ALIKE: &str = "look_alike";

/// A JSON object. Its members are found by name without case.
#[derive(Debug, Clone)]
pub(super) struct Object(Arc<BTreeMap<String, Member>>);

#[derive(Debug)]
struct Member {
    /// Every reader reads its name alike.
    is_plain: bool,
    /// As the expressions spell it, else as sent; `None` if the expressions disagree, or only some readers take it for the
    /// member that they name.
    name: Option<CelString<'static>>,
    value: Box<dyn Val>,
}

impl Object {
    fn of(members: Members, names: &Names, longest: &mut usize) -> Self {
        *longest = members.len().max(*longest);
        let members = members.into_iter().map(|(key, (sent, json))| {
            let is_plain = is_plain(&sent);
            let name = match names.spelling(&key) {
                Some(_) if !is_plain => None,
                Some(spelling) => spelling.clone(),
                None => Some(sent),
            };
            let member = Member {
                is_plain,
                name: name.map(CelString::from),
                value: value(json, names, longest),
            };
            (key, member)
        });
        Self(Arc::new(members.collect()))
    }

    fn find(&self, name: &dyn Val) -> Result<Option<&Member>, ExecutionError> {
        let name = name
            .downcast_ref::<CelString<'_>>()
            .ok_or_else(|| unexpected(name, "string"))?;
        match self.0.get(folded(name.inner()).as_ref()) {
            // Some readers take it for this member and some do not, so it is neither present nor missing.
            Some(member) if !member.is_plain => {
                Err(ExecutionError::function_error(LOOK_ALIKE, name.inner()))
            }
            found => Ok(found),
        }
    }
}

fn value(json: Json, names: &Names, longest: &mut usize) -> Box<dyn Val> {
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(bool) => Box::new(CelBool::from(bool)),
        Json::Int(int) => Box::new(CelInt::from(int)),
        Json::Uint(uint) => Box::new(CelUInt::from(uint)),
        Json::Double(double) => Box::new(CelDouble::from(double)),
        Json::Text(text) => Box::new(CelString::from(text)),
        Json::List(items) => {
            *longest = items.len().max(*longest);
            let items = items.into_iter().map(|item| value(item, names, longest));
            Box::new(CelList::from(items.collect::<Vec<_>>()))
        }
        Json::Object(members) => Box::new(Object::of(members, names, longest)),
    }
}

fn unexpected(value: &dyn Val, want: &str) -> ExecutionError {
    ExecutionError::UnexpectedType {
        got: value.get_type().name().to_owned(),
        want: want.to_owned(),
    }
}

impl Val for Object {
    fn get_type(&self) -> &Type {
        Self::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)> {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)> {
        let spelled = self.0.values().all(|member| member.name.is_some());
        spelled.then_some(self as _)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>().is_some_and(|other| {
            self.0.len() == other.0.len()
                && self
                    .0
                    .iter()
                    .zip(other.0.iter())
                    .all(|((name, member), (other_name, other))| {
                        name == other_name && member.value.equals(other.value.as_ref())
                    })
        })
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Object {}

impl Container for Object {
    fn contains(&self, name: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.find(name)?.is_some())
    }
}

impl Indexer for Object {
    fn get<'b, 'v>(&'b self, name: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError> {
        let member = self.find(name)?;
        let name = name.downcast_ref::<CelString<'_>>();
        member
            .map(|member| CowVal::Borrowed(member.value.as_ref()))
            .ok_or_else(|| ExecutionError::no_such_key(name.map_or("", |name| name.inner())))
    }

    fn steal<'v>(self: Box<Self>, name: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        self.get(name).map(CowVal::into_owned)
    }
}

impl Sizer for Object {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.0.len()).unwrap_or(i64::MAX))
    }
}

impl Iterable for Object {
    fn iter<'b, 'v>(&'b self) -> Box<dyn traits::Iterator<'b, 'v> + 'b> {
        Box::new(MemberNames(self.0.values()))
    }
}

struct MemberNames<'b>(Values<'b, String, Member>);

impl<'b, 'v> traits::Iterator<'b, 'v> for MemberNames<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        Some(self.0.next()?.name.as_ref()?)
    }
}

/// A compiled pattern, with the number of bytes that one evaluation has searched.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    matched: Arc<AtomicUsize>,
}

/// No expression can name this type.
pub(super) const PATTERN_TYPE: Type = Type::new_unspecified_type("pattern");

impl Pattern {
    pub(super) fn new(regex: &Regex, matched: &Arc<AtomicUsize>) -> Self {
        Self {
            regex: regex.clone(),
            matched: Arc::clone(matched),
        }
    }

    /// `None` if this evaluation has searched too much text.
    pub(super) fn is_match(&self, text: &str) -> Option<bool> {
        let before = self.matched.fetch_add(text.len(), Ordering::Relaxed);
        (before.saturating_add(text.len()) <= MAX_MATCHED).then(|| self.regex.is_match(text))
    }
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        Self::cel_type()
    }

    fn cel_type() -> &'static Type {
        static TYPE: Type = PATTERN_TYPE;
        &TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}
