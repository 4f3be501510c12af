#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| ringmq_fuzz::run(ringmq_fuzz::checks::batch_items
        body if batch::Items::new(body).all(|item| item.is_ok()) => seeds.push(("batch", body.to_vec())),, input));
