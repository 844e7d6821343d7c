//! Tiny random models on disk: a whole models folder in a hundred kilobytes.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use visa_align::{Part, testing};

/// The folder of the models that all tests share; tests that damage one work on a [`copy`].
pub(crate) fn models() -> &'static Path {
    static MODELS: OnceLock<PathBuf> = OnceLock::new();
    MODELS.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tiny-models");
        let _ = std::fs::remove_dir_all(&root);
        testing::models(&root);
        root
    })
}

/// A copy to damage.
pub(crate) fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for part in Part::ALL.into_iter().chain(Part::JUDGE) {
        copy_files(
            &models().join(part.folder()),
            &dir.path().join(part.folder()),
        );
    }
    dir
}

/// A copy with the folder `trained` in the place of one part.
pub(crate) fn with(part: Part, trained: &Path) -> tempfile::TempDir {
    let dir = copy();
    let place = dir.path().join(part.folder());
    std::fs::remove_dir_all(&place).expect("removed");
    copy_files(trained, &place);
    dir
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("created");
    for file in std::fs::read_dir(from).expect("a folder") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
}
