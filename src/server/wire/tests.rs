//! Which answer is being written.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn guards_tell_an_answer_of_ours_from_one_of_hyper(steps in prop::collection::vec(0u8..3, 0..30)) {
        let handling = Handling::default();
        let mut guards = Vec::new();
        let mut clean = true;
        for step in steps {
            match step {
                0 => { guards.push(handling.begin()); clean = false; }
                1 => { guards.pop(); }
                _ => { handling.flushed(); clean |= guards.is_empty(); }
            }
            prop_assert_eq!(handling.is_silent(), clean && guards.is_empty());
        }
    }
}
