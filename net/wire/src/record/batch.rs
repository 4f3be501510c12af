//! A batch body: items that become one record each. (`MessageDecoder.encodeMessages`)
