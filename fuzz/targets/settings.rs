//! A settings file is refused with its places, or what is shown of it is read back as the same.
#![no_main]

use std::{env, fs, path::PathBuf, process, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use referral_gateway::config::{self, Config, Error, Sources};

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| env::temp_dir().join(format!("settings-{}.yaml", process::id())));

fn load(text: &str) -> Result<Config, Error> {
    fs::write(&*FILE, text).expect("a folder for temporary files");
    config::load(Sources {
        file: Some(FILE.clone()),
        ..Sources::default()
    })
}

fuzz_target!(|text: &str| {
    // The files that settings name are looked at, and one that never ends is the business of who names it.
    if text.contains("dev") || text.contains("proc") {
        return;
    }
    match load(text) {
        Ok(config) => {
            let shown = config.show(false);
            let again = load(&shown).unwrap_or_else(|error| panic!("{error}\n{shown}"));
            assert_eq!(shown, again.show(false));
            assert_eq!(config.to_json()["settings"], again.to_json()["settings"]);
        }
        Err(error) => {
            assert!(error.problems().next().is_some());
            for problem in error.problems() {
                let is_placed = problem.file.as_deref() == FILE.to_str();
                assert!(is_placed && !problem.remedy.is_empty(), "{problem}");
            }
        }
    }
});
