//! The published checkpoints, and the folder where fetched ones lie. No network access.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// A checkpoint that others publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// Name of its file without `.pth`, ending in the first digits of the file's SHA-256.
    pub name: &'static str,
    /// torchvision's name of the network.
    pub network: &'static str,
    /// What torchvision calls it.
    pub published_as: &'static str,
    /// SHA-256 of the file in hexadecimal, lower case, where more than the digits in its name is known.
    pub sha256: Option<&'static str>,
    /// Length of the file in MiB, about.
    pub mebibytes: f32,
    /// Under which terms it may be used.
    pub licence: &'static str,
}

/// torchvision's checkpoints for ImageNet's 1000 classes.
pub const KNOWN: [Known; 29] = [
    torchvision("resnet50-0676ba61", "resnet50", "ResNet50_Weights.IMAGENET1K_V1", 97.8),
    torchvision("resnet50-11ad3fa6", "resnet50", "ResNet50_Weights.IMAGENET1K_V2", 97.8),
    torchvision("googlenet-1378be20", "googlenet", "GoogLeNet_Weights.IMAGENET1K_V1", 49.7),
    torchvision("inception_v3_google-0cc3c7bd", "inception_v3", "Inception_V3_Weights.IMAGENET1K_V1", 103.9),
    torchvision("resnet18-f37072fd", "resnet18", "ResNet18_Weights.IMAGENET1K_V1", 44.7),
    torchvision("resnet34-b627a593", "resnet34", "ResNet34_Weights.IMAGENET1K_V1", 83.3),
    torchvision("resnet101-63fe2227", "resnet101", "ResNet101_Weights.IMAGENET1K_V1", 170.5),
    torchvision("resnet101-cd907fc2", "resnet101", "ResNet101_Weights.IMAGENET1K_V2", 170.5),
    torchvision("resnet152-394f9c45", "resnet152", "ResNet152_Weights.IMAGENET1K_V1", 230.4),
    torchvision("resnet152-f82ba261", "resnet152", "ResNet152_Weights.IMAGENET1K_V2", 230.5),
    torchvision("wide_resnet50_2-95faca4d", "wide_resnet50_2", "Wide_ResNet50_2_Weights.IMAGENET1K_V1", 131.8),
    torchvision("wide_resnet50_2-9ba9bcbe", "wide_resnet50_2", "Wide_ResNet50_2_Weights.IMAGENET1K_V2", 263.1),
    torchvision("wide_resnet101_2-32ee1156", "wide_resnet101_2", "Wide_ResNet101_2_Weights.IMAGENET1K_V1", 242.9),
    torchvision("wide_resnet101_2-d733dc28", "wide_resnet101_2", "Wide_ResNet101_2_Weights.IMAGENET1K_V2", 484.7),
    torchvision("vgg11-8a719046", "vgg11", "VGG11_Weights.IMAGENET1K_V1", 506.8),
    torchvision("vgg13-19584684", "vgg13", "VGG13_Weights.IMAGENET1K_V1", 507.5),
    torchvision("vgg16-397923af", "vgg16", "VGG16_Weights.IMAGENET1K_V1", 527.8),
    torchvision("vgg19-dcbb9e9d", "vgg19", "VGG19_Weights.IMAGENET1K_V1", 548.1),
    torchvision("vgg11_bn-6002323d", "vgg11_bn", "VGG11_BN_Weights.IMAGENET1K_V1", 506.9),
    torchvision("vgg13_bn-abd245e5", "vgg13_bn", "VGG13_BN_Weights.IMAGENET1K_V1", 507.6),
    torchvision("vgg16_bn-6c64b313", "vgg16_bn", "VGG16_BN_Weights.IMAGENET1K_V1", 527.9),
    torchvision("vgg19_bn-c79401a0", "vgg19_bn", "VGG19_BN_Weights.IMAGENET1K_V1", 548.1),
    torchvision("alexnet-owt-7be5be79", "alexnet", "AlexNet_Weights.IMAGENET1K_V1", 233.1),
    torchvision("squeezenet1_0-b66bff10", "squeezenet1_0", "SqueezeNet1_0_Weights.IMAGENET1K_V1", 4.8),
    torchvision("squeezenet1_1-b8a52dc0", "squeezenet1_1", "SqueezeNet1_1_Weights.IMAGENET1K_V1", 4.7),
    torchvision("densenet121-a639ec97", "densenet121", "DenseNet121_Weights.IMAGENET1K_V1", 30.8),
    torchvision("densenet161-8d451a50", "densenet161", "DenseNet161_Weights.IMAGENET1K_V1", 110.4),
    torchvision("densenet169-b2777c0a", "densenet169", "DenseNet169_Weights.IMAGENET1K_V1", 54.7),
    torchvision("densenet201-c1103571", "densenet201", "DenseNet201_Weights.IMAGENET1K_V1", 77.4),
];

const fn torchvision(name: &'static str, network: &'static str, published_as: &'static str, mebibytes: f32) -> Known {
    Known {
        name,
        network,
        published_as,
        sha256: None,
        mebibytes,
        licence: "torchvision (BSD-3-Clause) states none for these weights, and says that terms may derive from the data; they \
                  are trained on ImageNet, whose terms allow non-commercial research and education",
    }
}

impl Known {
    /// The checkpoint whose file has this name.
    pub fn of_file(file: &str) -> Option<&'static Known> {
        KNOWN.iter().find(|known| known.file() == file)
    }

    /// The checkpoint that a user means: by its name, its file's, torchvision's or, for the first of its network, that of the
    /// network.
    pub fn named(name: &str) -> Option<&'static Known> {
        let names = |known: &Known| {
            let file = known.file();
            [known.name, &file, known.published_as, known.network].iter().any(|other| other.eq_ignore_ascii_case(name))
        };
        KNOWN.iter().find(|known| names(known))
    }

    /// The first checkpoint of a network that has been fetched, and where it is.
    pub fn fetched(network: &str) -> Option<PathBuf> {
        KNOWN.iter().filter(|known| known.network == network).find_map(Known::in_cache)
    }

    /// Where its file is, if it has been fetched.
    pub fn in_cache(&self) -> Option<PathBuf> {
        cache_folder().map(|folder| folder.join(self.file())).filter(|path| path.is_file())
    }

    /// Name of its file.
    pub fn file(&self) -> String {
        format!("{}.pth", self.name)
    }

    /// Where it is published.
    pub fn url(&self) -> String {
        format!("https://download.pytorch.org/models/{}", self.file())
    }

    /// As much as is known of the file's SHA-256: all digits, or the first ones.
    pub fn checksum(&self) -> &'static str {
        self.sha256.unwrap_or_else(|| self.sha256_prefix())
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
            assert!(known.checksum().starts_with(digits), "{known:?}");
            assert!(known.url().ends_with(&format!("/{}.pth", known.name)), "{}", known.url());
        }
        assert_eq!(Known::of_file("resnet50.pth"), None);
    }

    #[test]
    fn checkpoints_have_several_names() {
        for known in &KNOWN {
            for name in [known.name, &known.file(), known.published_as, &known.published_as.to_lowercase()] {
                assert_eq!(Known::named(name), Some(known), "{name}");
            }
        }
        let named = |name| Known::named(name).map(|known| known.name);
        assert_eq!(named("resnet50"), Some("resnet50-0676ba61"));
        assert_eq!(named("googlenet"), Some("googlenet-1378be20"));
        assert_eq!(named("resnet50-0676ba6"), None);
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
