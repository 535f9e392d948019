//! Names and salts that nobody can have foreseen.

/// `BYTES` random bytes as hexadecimal digits.
///
/// Where the kernel gives none they are zero. What is named with them is created exclusively and fails then, and a weak salt
/// helps only those who can read the salted file.
pub fn hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
