//! The properties string: name 0x01 value 0x02, repeated. (`MessageDecoder.string2messageProperties`)
