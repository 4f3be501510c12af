//! The JSON form of a header. (`RemotingSerializable`)
use crate::command::{Head, HeadScratch, OutHead};
use crate::error::HeadError;
pub(crate) fn decode<'a>(_scratch: &'a mut HeadScratch, _input: &[u8]) -> Result<Head<'a>, HeadError> {
    todo!()
}
pub(crate) fn encode(_head: &OutHead<'_>, _out: &mut Vec<u8>) {
    todo!()
}
