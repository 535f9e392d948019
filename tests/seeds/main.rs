//! The seeds of the fuzz targets, through the same functions as under libFuzzer.

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::Path;

#[test]
fn p21_what_must_hold_for_every_input_holds_for_the_seeds() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut run = 0;
    for directory in fs::read_dir(seeds).expect("there are seeds") {
        let directory = directory.expect("readable").path();
        let name = directory.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        let target = fuzz::target(name).unwrap_or_else(|| panic!("no target is named {name}"));
        for seed in fs::read_dir(&directory).expect("a directory") {
            let path = seed.expect("readable").path();
            println!("{}", path.display()); // shown with a failure
            target(&fs::read(&path).expect("readable"));
            run += 1;
        }
    }
    assert!(run > 100, "{run} seeds");
}
