//! Typed requests and replies, one file per family.
//!
//! A request that lives in a header decodes from [`crate::Fields`] (`decode`) and lists its fields for the other
//! direction (`fields`). One that lives in a body is read and written by [`crate::json`].
//!
//! Leniency is Java's: unknown fields are ignored; a required field that is missing, and a number that is none,
//! is an error whose text is the answer's remark; an optional number that is missing or empty has its default.
//! Fields that any request may carry and a broker ignores (`bname`, `lo`, `ns`, `nsd`, `oway`, `ReqT`) are not listed.
//!
//! Source: `remoting/.../protocol/header/`, `remoting/.../protocol/body/`.

use crate::error::FieldError;
use crate::fields::{FieldList, Fields};

pub mod admin;
pub mod client;
pub mod group;
pub mod heartbeat;
pub mod kv;
pub mod lock;
pub mod offset;
pub mod pull;
pub mod queue;
pub mod recall;
pub mod registration;
pub mod route;
pub mod send;
pub mod subscription;
pub mod topic;
pub mod view;

/// A type that one header field can have.
pub(crate) trait Field<'a>: Sized {
    fn read(fields: &Fields<'a>, name: &'static str) -> Result<Self, FieldError>;
    fn write(self, name: &'static str, list: &mut FieldList<'a>);
}

impl<'a> Field<'a> for &'a str {
    fn read(fields: &Fields<'a>, name: &'static str) -> Result<Self, FieldError> {
        fields.text(name)
    }
    fn write(self, name: &'static str, list: &mut FieldList<'a>) {
        list.push(name, self);
    }
}

impl<'a> Field<'a> for i32 {
    fn read(fields: &Fields<'a>, name: &'static str) -> Result<Self, FieldError> {
        fields.i32(name)
    }
    fn write(self, name: &'static str, list: &mut FieldList<'a>) {
        list.push(name, self);
    }
}

impl<'a> Field<'a> for i64 {
    fn read(fields: &Fields<'a>, name: &'static str) -> Result<Self, FieldError> {
        fields.i64(name)
    }
    fn write(self, name: &'static str, list: &mut FieldList<'a>) {
        list.push(name, self);
    }
}

/// "true" in any case is true, everything else and absence is false.
impl<'a> Field<'a> for bool {
    fn read(fields: &Fields<'a>, name: &'static str) -> Result<Self, FieldError> {
        Ok(fields.is_true(name))
    }
    fn write(self, name: &'static str, list: &mut FieldList<'a>) {
        list.push(name, self);
    }
}

/// Absent and empty are the same: C++ sends the fields that it does not use as "".
impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn read(fields: &Fields<'a>, name: &'static str) -> Result<Self, FieldError> {
        match fields.get(name) {
            None | Some("") => Ok(None),
            Some(_) => T::read(fields, name).map(Some),
        }
    }
    fn write(self, name: &'static str, list: &mut FieldList<'a>) {
        if let Some(value) = self {
            value.write(name, list);
        }
    }
}

/// Defines a request or reply whose every part is a header field: `name: type = "wire name"`, with `or default` for
/// a number that may be missing.
macro_rules! header {
    ($(#[$doc:meta])* $name:ident<$life:lifetime> { $($body:tt)* }) => {
        header! { @struct [$(#[$doc])*] [$name] [<$life>] { $($body)* } }
    };
    ($(#[$doc:meta])* $name:ident { $($body:tt)* }) => {
        header! { @struct [$(#[$doc])*] [$name] [] { $($body)* } }
    };
    (@struct [$(#[$doc:meta])*] [$name:ident] [$($generics:tt)*] {
        $($(#[$fdoc:meta])* $field:ident: $type:ty = $wire:literal $(or $default:literal)?,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name $($generics)* {
            $($(#[$fdoc])* pub $field: $type,)*
        }

        impl $($generics)* $name $($generics)* {
            /// Reads it from a header's fields.
            pub fn decode<'f>(fields: &$crate::Fields<'f>) -> Result<header!(@lived $name 'f [$($generics)*]), $crate::FieldError> {
                Ok($name {
                    $($field: header!(@read fields $wire $($default)?),)*
                })
            }

            /// Lists its fields for a header.
            #[inline]
            pub fn fields<'f>(&self) -> $crate::FieldList<'f> where Self: 'f {
                let mut list = $crate::FieldList::new();
                $($crate::request::Field::write(self.$field, $wire, &mut list);)*
                list
            }
        }
    };
    (@lived $name:ident $f:lifetime []) => { $name };
    (@lived $name:ident $f:lifetime [$($generics:tt)+]) => { $name<$f> };
    (@read $fields:ident $wire:literal) => { $crate::request::Field::read($fields, $wire)? };
    (@read $fields:ident $wire:literal $default:literal) => {
        $crate::request::Field::read($fields, $wire).map(|value: Option<_>| value.unwrap_or($default))?
    };
}
pub(crate) use header;

#[cfg(test)]
pub(crate) mod testing {
    use crate::{Fields, HeadFormat, HeadScratch};

    /// Hands the fields of a header with this `extFields` to `check`.
    pub(crate) fn decoded(ext: &str, check: impl FnOnce(Fields<'_>)) {
        let head = format!("{{\"extFields\":{ext}}}");
        let mut scratch = HeadScratch::default();
        check(scratch.decode(HeadFormat::Json, head.as_bytes()).expect("the test's header is valid").fields);
    }
}
