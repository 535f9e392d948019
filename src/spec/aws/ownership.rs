//! `uid` and `gid` of a class and of an object.

/// The number of a user or group. What is wrong with it reads on after the name of its owner.
pub fn id(written: &str) -> Result<u32, &'static str> {
    let digits = !written.is_empty() && written.bytes().all(|digit| digit.is_ascii_digit());
    match written.parse::<u32>() {
        // To `chown(2)` it means that nothing changes.
        Ok(u32::MAX) => Err("stands for nobody; write another number"),
        Ok(id) if digits => Ok(id),
        _ => Err("is no number of a user or group; write one from 0 to 4294967294"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a15_only_numbers_of_somebody_are_ids() {
        assert_eq!([id("0"), id("1000"), id("4294967294")], [Ok(0), Ok(1000), Ok(4_294_967_294)]);
        for written in ["", "-1", "+1", "4294967295", "4294967296", "1e3", "0x10", " 1", "root", "1000:1000"] {
            assert!(id(written).is_err(), "{written:?}");
        }
    }
}
