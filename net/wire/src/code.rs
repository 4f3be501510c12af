//! Request and response codes. Source: `RequestCode.java`, `ResponseCode.java`, `RemotingSysResponseCode.java`.
