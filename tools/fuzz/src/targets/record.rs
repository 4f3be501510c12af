#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| ringmq_fuzz::run(ringmq_fuzz::checks::records
        body if record::decode(body).is_ok() => seeds.push(("record", body.to_vec())),, input));
