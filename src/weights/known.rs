//! The published checkpoints, and the folder where fetched ones lie. No network access.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// A checkpoint that others publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// Name of its file without `.pth`, ending in the first digits of the file's SHA-256.
    pub name: &'static str,
    /// The network: `resnet50`, `googlenet` or `inception_v3`.
    pub network: &'static str,
    /// What torchvision calls it.
    pub published_as: &'static str,
    /// Length of the file in MiB, about.
    pub mebibytes: f32,
    /// Under which terms it may be used.
    pub licence: &'static str,
}

/// torchvision's checkpoints for ImageNet's 1000 classes.
pub const KNOWN: [Known; 4] = [
    torchvision("resnet50-0676ba61", "resnet50", "ResNet50_Weights.IMAGENET1K_V1", 97.8),
    torchvision("resnet50-11ad3fa6", "resnet50", "ResNet50_Weights.IMAGENET1K_V2", 97.8),
    torchvision("googlenet-1378be20", "googlenet", "GoogLeNet_Weights.IMAGENET1K_V1", 49.7),
    torchvision("inception_v3_google-0cc3c7bd", "inception_v3", "Inception_V3_Weights.IMAGENET1K_V1", 103.9),
];

const fn torchvision(name: &'static str, network: &'static str, published_as: &'static str, mebibytes: f32) -> Known {
    Known {
        name,
        network,
        published_as,
        mebibytes,
        licence: "torchvision (BSD-3-Clause) states no licence for its weights; they are trained on ImageNet, whose terms \
                  allow non-commercial research and education",
    }
}

impl Known {
    /// The checkpoint whose file has this name.
    pub fn of_file(file: &str) -> Option<&'static Known> {
        KNOWN.iter().find(|known| known.file() == file)
    }

    /// Name of its file.
    pub fn file(&self) -> String {
        format!("{}.pth", self.name)
    }

    /// Where it is published.
    pub fn url(&self) -> String {
        format!("https://download.pytorch.org/models/{}", self.file())
    }

    /// First digits of the file's SHA-256, lower case.
    pub fn sha256_prefix(&self) -> &'static str {
        self.name.rsplit_once('-').map_or("", |(_, digits)| digits)
    }
}

/// The folder for fetched files by the platform's convention: `entoptic` in `$XDG_CACHE_HOME` or `~/.cache`, in
/// `~/Library/Caches` on macOS, in `%LOCALAPPDATA%` on Windows. None where the environment names no such place.
pub fn cache_folder() -> Option<PathBuf> {
    cache_folder_on(env::consts::OS, |name| env::var_os(name))
}

fn cache_folder_on(system: &str, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // The convention says that a relative path is to be ignored.
    let path = |name| variable(name).map(PathBuf::from).filter(|path| path.has_root());
    let caches = match system {
        "windows" => path("LOCALAPPDATA"),
        "macos" => path("HOME").map(|home| home.join("Library").join("Caches")),
        _ => path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache"))),
    };
    caches.map(|caches| caches.join("entoptic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_end_in_digits_of_their_checksums() {
        for known in KNOWN {
            let digits = known.sha256_prefix();
            assert!(digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{digits}");
            assert_eq!(Known::of_file(&known.file()), Some(&known));
            assert!(known.url().ends_with(&format!("/{}.pth", known.name)), "{}", known.url());
        }
        assert_eq!(Known::of_file("resnet50.pth"), None);
    }

    #[test]
    fn cache_folders_follow_the_platform() {
        let folder = |system, variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into());
            cache_folder_on(system, find)
        };
        let is = |path: &str| Some(PathBuf::from(path));
        assert_eq!(folder("linux", &[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), is("/c/entoptic"));
        assert_eq!(folder("linux", &[("XDG_CACHE_HOME", "c"), ("HOME", "/h")]), is("/h/.cache/entoptic"));
        assert_eq!(folder("linux", &[("XDG_CACHE_HOME", "")]), None);
        assert_eq!(folder("macos", &[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), is("/h/Library/Caches/entoptic"));
        assert_eq!(folder("windows", &[("HOME", "/h"), ("LOCALAPPDATA", "/l")]), is("/l/entoptic"));
    }
}
