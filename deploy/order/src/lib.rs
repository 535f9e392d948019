//! Which functions the released binary begins with.
//!
//! A process maps the code that it calls in pieces of 64 KiB, and a linker leaves functions where the compiler has put them. What
//! mounts call is a third of all code, but it lies everywhere, so nearly all of it came to be in memory. `order-record` notes what
//! is called, and `order-link` puts that first. Both know a function by its [`mark`].

use std::path::Path;

use anyhow::Context as _;

/// What the list has in the place of a function's name.
///
/// It leaves out what changes with the version of a crate or of the compiler. The names themselves would be megabytes: those of
/// generic functions have all their types in them.
pub fn mark(symbol: &str) -> u32 {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    fnv_1a(without_version(&name).as_bytes())
}

/// AWS-LC has its version in the names of its functions: `aws_lc_0_47_0_EVP_DigestInit`.
fn without_version(name: &str) -> &str {
    let Some(rest) = name.strip_prefix("aws_lc_") else { return name };
    rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '_')
}

/// The hash of the name FNV-1a, whose value is the same everywhere and in all times.
fn fnv_1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The marks of a list, in its order.
///
/// # Errors
/// When the file cannot be read, or a line is neither a mark nor a comment.
pub fn read(list: &Path) -> anyhow::Result<Vec<u32>> {
    let text = std::fs::read_to_string(list).with_context(|| list.display().to_string())?;
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| u32::from_str_radix(line, 16).with_context(|| format!("{}: {line:?} is no mark", list.display())))
        .collect()
}

/// A mark as a line of the list.
pub fn line(mark: u32) -> String {
    format!("{mark:08x}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_of_a_crate_has_the_same_marks() {
        for (one, other) in [
            ("_RNvCs1234_7mycrate3foo", "_RNvCsabcdefghij_7mycrate3foo"),
            ("_ZN7mycrate3foo17h0123456789abcdefE", "_ZN7mycrate3foo17hfedcba9876543210E"),
            ("aws_lc_0_47_0_EVP_DigestInit", "aws_lc_1_0_12_EVP_DigestInit"),
        ] {
            assert_eq!(mark(one), mark(other), "{one}");
        }
    }

    #[test]
    fn another_type_in_a_generic_function_has_another_mark() {
        assert_ne!(mark("_RINvCs1234_7mycrate3foomE"), mark("_RINvCs1234_7mycrate3fooyE"));
    }
}
