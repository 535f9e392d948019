//! Names, salts and pauses that nobody can have foreseen.

use std::time::Duration;

/// `BYTES` random bytes as hexadecimal digits.
///
/// Where the kernel gives none they are zero. What is named with them is created exclusively and fails then, and a weak salt
/// helps only those who can read the salted file.
pub fn hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number between -1 and 1.
pub fn symmetric() -> f64 {
    let mut bytes = [0; 2];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u16::from_ne_bytes(bytes)) / 32_767.5 - 1.0
}

/// A pause, a quarter longer or shorter, so that what failed together does not come back together.
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + symmetric() / 4.0)
}
