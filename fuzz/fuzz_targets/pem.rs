#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| secretmount_fuzz::pem(input));
