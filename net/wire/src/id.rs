//! Message ids. (offsetMsgId: upper-case hex of store host ip, port, physical offset.)
