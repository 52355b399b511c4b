//! The page of a comparison in a browser. Needs Chromium and chromedriver: `scripts/report_browser.sh` installs and runs.

// Helpers of tests unwrap like the tests themselves, which the lint does not see.
#![allow(clippy::unwrap_used)]

// Compiled into each test program, of which each uses a part.
mod common;

use common::reference::structure;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "common/browser.rs"]
mod browser;

use browser::{Browser, DOWN, ENTER, ESCAPE, LEFT, RIGHT, UP};
use common::desk::Desk;
use serde_json::{Value, json};

const LIGHT: &str = "light";
const WINDOW: [u32; 2] = [1280, 900];

/// What a file says of a run that made a picture of a class.
fn run(class: usize, name: &str) -> Value {
    let network = json!({ "network": "resnet50", "weights": "made.safetensors", "sha256": "0" });
    json!({
        "objective": { "kind": "class", "class": class, "name": name }, "seed": 7, "networks": [network],
    })
}

/// A report of two sets of pictures, one of each class, by two networks.
fn report(desk: &Desk, classes: &[&str], sets: [&str; 2], side: usize, more: &str) -> PathBuf {
    desk.known("a.safetensors", structure("resnet50"), 1, classes);
    desk.known("b.safetensors", structure("googlenet"), 2, classes);
    for (set, seed) in sets.into_iter().zip([0, 1000]) {
        for (class, name) in classes.iter().enumerate() {
            desk.picture(&format!("{set}/{class}.png"), seed + class as u64, side, Some(run(class, name)));
        }
    }
    let [first, second] = sets;
    desk.good(&format!("compare -w a.safetensors -w b.safetensors --pictures {first} {second} --out report {more}"));
    desk.path("report/index.html")
}

const CLASSES: [&str; 4] = ["tench", "golf ball", "church", "French horn"];

fn names(browser: &Browser) -> Vec<String> {
    let names = browser.script("return [...document.querySelectorAll('.class h2')].map(name => name.textContent)");
    serde_json::from_value(names).unwrap()
}

/// Nothing went wrong, and nothing was asked of the network.
fn quiet(browser: &Browser) {
    assert_eq!(browser.console(), Vec::<String>::new());
    let requests = browser.requests();
    assert!(requests.iter().any(|address| address.starts_with("file:")), "{requests:?}");
    let others: Vec<&String> =
        requests.iter().filter(|address| !["file:", "data:"].iter().any(|own| address.starts_with(own))).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
#[ignore = "needs Chromium: scripts/report_browser.sh"]
fn classes_are_searched_sorted_and_opened_by_keys() {
    let desk = Desk::new();
    let page = report(&desk, &CLASSES, ["first", "second"], 48, "");
    let browser = Browser::start(WINDOW, LIGHT);
    browser.open(&page);
    browser.expect("document.querySelectorAll('.class').length", 4);
    browser.expect("document.querySelector('#summary').textContent", "8 pictures · 4 classes · 2 sets · 2 networks");
    browser.expect("[...document.querySelectorAll('.shot img')].every(image => image.naturalWidth === 48)", true);

    browser.press("/");
    browser.expect("document.activeElement.id", "search");
    browser.press("BALL");
    browser.expect("document.querySelector('#count').textContent", "1 of 4 classes");
    assert_eq!(names(&browser), ["golf ball"]);
    browser.press("x");
    browser.expect("document.querySelector('#nothing').textContent", "No class is called “BALLx”.");
    browser.press(ESCAPE);
    browser.expect("document.querySelectorAll('.class').length", 4);
    browser.expect("document.activeElement === document.body", true);

    // By probability, as the first network sees the second set; the table says the same.
    let choose = |id: &str, text: &str| {
        browser.script(&format!(
            "const select = document.getElementById('{id}'); \
             select.value = [...select.options].find(option => option.textContent === {}).value; \
             select.dispatchEvent(new Event('change'))",
            json!(text)
        ));
    };
    choose("sort", "probability, a");
    choose("which", browser.script("return DATA.sets[1].label").as_str().unwrap());
    let table = fs::read_to_string(desk.path("report/data/outputs.csv")).unwrap();
    let mut expected: Vec<(f64, &str)> = table
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|cells| cells[1] == "a")
        .skip(4)
        .zip(CLASSES)
        .map(|(cells, class)| (cells[3].parse().unwrap(), class))
        .collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut expected: Vec<&str> = expected.into_iter().map(|(_, class)| class).collect();
    assert_eq!(names(&browser), expected);
    browser.click("#order");
    expected.reverse();
    assert_eq!(names(&browser), expected);
    choose("sort", "name");
    assert_eq!(names(&browser), ["church", "French horn", "golf ball", "tench"]);

    // Into the grid, through it, and into a picture.
    browser.press("/");
    browser.press(DOWN);
    browser.press(RIGHT);
    browser.press(RIGHT);
    browser.expect("document.activeElement.getAttribute('aria-label')", "French horn, made");
    browser.press(LEFT);
    browser.press(ENTER);
    browser.expect("document.querySelector('dialog').open", true);
    browser.expect("document.querySelector('#picture-name').firstChild.textContent", "church");
    browser.expect("document.querySelector('.big img').naturalWidth", 48);
    browser.expect("document.querySelector('.big img').src.endsWith('/pictures/0006.png')", true);
    browser.expect("document.querySelector('pre').textContent", "name = \"small\"\n");
    browser.expect("document.querySelectorAll('.seen .bars').length", 2);
    let red = "getComputedStyle(document.querySelector('.bars i.is-target')).backgroundColor";
    browser.expect(red, "rgb(200, 50, 31)");
    browser.press(RIGHT);
    browser.expect("document.querySelector('#picture-name').firstChild.textContent", "French horn");
    browser.press(LEFT);
    browser.press(LEFT);
    browser.expect("document.querySelector('#picture-name').firstChild.textContent", "tench");
    browser.expect("document.querySelector('.big img').src.endsWith('/pictures/0004.png')", true);
    browser.press(UP);
    browser.expect("document.querySelector('.big img').src.endsWith('/pictures/0000.png')", true);
    browser.click(".near .shot");
    browser.expect("document.querySelector('#picture-name').firstChild.textContent !== 'tench'", true);
    let shown = browser.script("return String(PICTURE.picture.index)");
    browser.press(ESCAPE);
    browser.expect("document.querySelector('dialog').open", false);
    browser.expect("document.activeElement.dataset.picture", shown);
    quiet(&browser);
}

#[test]
#[ignore = "needs Chromium: scripts/report_browser.sh"]
fn plots_are_zoomed_moved_and_read() {
    let desk = Desk::new();
    let page = report(&desk, &CLASSES, ["first", "second"], 48, "--axes inception5a:0,4");
    let browser = Browser::start(WINDOW, LIGHT);
    browser.open(&page);
    let number = |expression: &str| browser.script(&format!("return {expression}")).as_f64().unwrap();
    for (tab, object, count) in [("neighbours", "GRAPH", 4), ("space", "SPACE", 8)] {
        browser.click(&format!("#tab-{tab}"));
        browser.expect(&format!("{object}.plot.points.length"), count);
        browser.expect(&format!("Boolean({object}.plot.points[0].place)"), true);
        let place = |point: usize| {
            let script = format!(
                "const box = {object}.plot.canvas.getBoundingClientRect(); const at = {object}.plot.points[{point}].place; \
                 return [box.left + at.x, box.top + at.y]"
            );
            serde_json::from_value::<[f64; 2]>(browser.script(&script)).unwrap()
        };
        let tip = format!("document.querySelector('#view-{tab} .tip')");
        browser.drag(&[place(2)]);
        browser.expect(&format!("{tip}.hidden"), false);
        browser.expect(&format!("{tip}.querySelector('b').textContent"), CLASSES[2]);
        browser.expect(&format!("{tip}.querySelector('img').naturalWidth"), 48);
        let beside = format!(
            "(() => {{ const [tip, plot] = [{tip}, {object}.plot.canvas].map(element => element.getBoundingClientRect()); \
             return tip.left >= plot.left && tip.right <= plot.right && tip.top >= plot.top && tip.bottom <= plot.bottom; }})()"
        );
        browser.expect(&beside, true);
        let scale = number(&format!("{object}.plot.scale.x"));
        let [x, y] = place(2);
        browser.wheel([x, y], -400);
        assert!(number(&format!("{object}.plot.scale.x")) > 1.5 * scale);
        browser.expect(
            &format!("Math.abs({object}.plot.points[2].place.x - {object}.plot.screen({object}.plot.points[2]).x) < 1"),
            true,
        );
        let zoomed = place(2);
        assert!((zoomed[0] - x).abs() < 2.0 && (zoomed[1] - y).abs() < 2.0, "{zoomed:?} stays at {x} {y}");
        let before = number(&format!("{object}.plot.shift.x"));
        let corner = format!(
            "const box = {object}.plot.canvas.getBoundingClientRect(); return [box.left + 40, box.bottom - 14]"
        );
        let [x, y]: [f64; 2] = serde_json::from_value(browser.script(&corner)).unwrap();
        browser.drag(&[[x, y], [x + 100.0, y]]);
        assert!((number(&format!("{object}.plot.shift.x")) - before - 100.0).abs() < 2.0, "{tab} moves with the mouse");
        // By keys alone.
        browser.script(&format!("{object}.plot.canvas.focus()"));
        browser.press("0");
        assert!((number(&format!("{object}.plot.scale.x")) - scale).abs() < 1e-9);
        browser.press(RIGHT);
        browser.press(LEFT);
        browser.expect(&format!("{object}.plot.active !== null && !{tip}.hidden"), true);
        let active = browser.script(&format!("return {object}.plot.active.title"));
        browser.press(ENTER);
        browser.expect("document.querySelector('#picture-name').firstChild.textContent", active);
        browser.press(ESCAPE);
        browser.expect("document.querySelector('dialog').open", false);
    }
    // A set that is not shown leaves the cloud; the second network has axes of its own.
    browser.click(".chip");
    browser.expect("SPACE.plot.points.length", 4);
    browser.script("const select = document.getElementById('space-network'); select.value = '1'; select.dispatchEvent(new Event('change'))");
    browser.expect("[...document.getElementById('space-x').options].at(-1).textContent", "inception5a, channel 4");
    browser.click("#tab-numbers");
    browser.expect("document.querySelectorAll('#numbers table')[0].rows.length", 3);
    browser.click("#tab-classes");
    browser.expect("document.querySelectorAll('#grid .shot:not([hidden])').length", 4);
    quiet(&browser);
}

#[test]
#[ignore = "needs Chromium: scripts/report_browser.sh"]
fn hostile_names_stay_names() {
    let classes = [
        "</script><script>window.hacked = 1</script>",
        "<img src=x onerror=\"window.hacked = 2\">",
        "{{ 7 * 7 }} ${1} ' \" ` &amp; \u{202e}\u{2028}x",
        "__proto__",
    ];
    let desk = Desk::new();
    let sets = ["<i>set", "\"onload=\"window.hacked=4"];
    desk.picture("strange/\"><img src=y onerror=window.hacked=5>.png", 1, 48, Some(run(1, classes[1])));
    let page = report(&desk, &classes, sets, 48, "");
    desk.picture("strange/skipped<b>.png", 1, 48, Some(run(9, "<i>nobody</i>")));
    let browser = Browser::start(WINDOW, LIGHT);
    let look = |count: usize| {
        browser.open(&page);
        browser.expect("document.querySelectorAll('.class').length", count);
        for tab in ["neighbours", "space", "numbers", "classes"] {
            browser.click(&format!("#tab-{tab}"));
        }
        let known: Vec<Value> = names(&browser).into_iter().map(Value::from).collect();
        for name in &known {
            browser.script("PICTURE.open(GRID.pictures[0], GRID.pictures)");
            for _ in 0..known.len() {
                if browser.script("return document.querySelector('#picture-name').firstChild.textContent") == *name {
                    break;
                }
                browser.press(RIGHT);
            }
            browser.expect("document.querySelector('#picture-name').firstChild.textContent", name.clone());
            browser.press(ESCAPE);
        }
        browser.expect("window.hacked === undefined", true);
        browser.expect("document.scripts.length", 2);
        browser.expect(
            "document.querySelectorAll('img[src=x], img[src=y], svg, i:not(.bars i), b:not(.tip b, .near b)').length",
            0,
        );
        browser.expect("document.querySelectorAll('[onload], [onerror]').length", 0);
        quiet(&browser);
        known
    };
    assert_eq!(look(4), classes);
    browser.expect("document.title.startsWith('made, made (')", true);
    // Names of files, on a page that stands alone.
    desk.good("compare -w a.safetensors --pictures strange --out report --single-file");
    assert_eq!(look(1), [classes[1]]);
    browser.expect("document.querySelector('.shot img').src.startsWith('data:image/jpeg;base64,')", true);
    browser.expect("document.querySelector('.skipped').textContent.includes('skipped<b>.png')", true);
}

/// Contrast of texts with what they stand on, after WCAG 2.
const CONTRAST: &str = "
    const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(value => value / 255)
        .map(value => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, channel) => sum + value * [0.2126, 0.7152, 0.0722][channel], 0);
    const below = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!/, 0\\)|transparent|color\\(/.test(colour)) return colour;
        }
    };
    return ['h1', '#summary', '#tab-space', '#count', '.class h2', '.under', '.who', '.bars .amount', '.bars .is-target', '.near']
        .map(selector => {
            const element = document.querySelector(selector);
            const [a, b] = [light(getComputedStyle(element).color), light(below(element))];
            return [selector, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), b];
        });";

/// With `ENTOPTIC_REPORT` and `ENTOPTIC_PICTURES`, also takes pictures of that page for the documentation.
#[test]
#[ignore = "needs Chromium: scripts/report_browser.sh"]
fn both_schemes_are_readable() {
    let desk = Desk::new();
    let given = std::env::var_os("ENTOPTIC_REPORT").map(PathBuf::from);
    let page = given.unwrap_or_else(|| report(&desk, &CLASSES, ["first", "second"], 48, ""));
    for scheme in [LIGHT, "dark"] {
        let browser = Browser::start(WINDOW, scheme);
        browser.open(&page);
        browser.script("PICTURE.open(DATA.pictures[0], DATA.pictures)");
        let found: Vec<(String, f64, f64)> = serde_json::from_value(browser.script(CONTRAST)).unwrap();
        for (selector, contrast, ground) in found {
            assert!(contrast >= 4.5, "{scheme}: {selector} has a contrast of {contrast:.2}");
            assert_eq!(ground > 0.5, scheme == LIGHT, "{scheme}: {selector} stands on {ground}");
        }
        browser.press(ESCAPE);
        let Some(folder) = std::env::var_os("ENTOPTIC_PICTURES").map(PathBuf::from) else { continue };
        for (name, act) in [
            ("classes", "view('classes'); document.activeElement.blur()"),
            ("picture", "PICTURE.open(DATA.pictures.find(picture => picture.class === 4), DATA.pictures)"),
            ("neighbours", "PICTURE.element.close(); view('neighbours')"),
            ("space", "view('space'); SPACE.plot.hover(SPACE.plot.points[21], true)"),
            ("numbers", "view('numbers')"),
        ] {
            browser.script(act);
            std::thread::sleep(std::time::Duration::from_millis(700));
            fs::write(folder.join(format!("report-{name}-{scheme}.jpg")), browser.photograph()).unwrap();
        }
    }
}

/// Scrolls fast through 240 frames, and gives the milliseconds of each.
const SCROLL: &str = "
    const times = [];
    let last = null;
    const step = now => {
        if (last !== null) times.push(now - last);
        last = now;
        scrollBy(0, 240);
        if (times.length < 240) requestAnimationFrame(step); else done(times);
    };
    requestAnimationFrame(step);";

/// Milliseconds of the frame in the middle, and of the one that 95 % are faster than: the better of two times.
fn frames(browser: &Browser, page: &Path) -> [f64; 2] {
    let once = || {
        browser.open(page);
        browser.expect("document.images.length", 4000);
        let mut frames: Vec<f64> = serde_json::from_value(browser.awaited(SCROLL)).unwrap();
        frames.sort_by(f64::total_cmp);
        [frames[120], frames[228]]
    };
    let (first, second) = (once(), once());
    [0, 1].map(|at| first[at].min(second[at]))
}

#[test]
#[ignore = "needs Chromium: scripts/report_browser.sh"]
fn a_thousand_classes_in_four_sets_scroll_without_stutter() {
    let desk = Desk::new();
    desk.thousand("a.safetensors", 1, |_| {});
    desk.thousand("b.safetensors", 2, |_| {});
    for set in 0..4 {
        for class in 0..1000 {
            let seed = 1000 * set + class;
            desk.picture(&format!("set{set}/{class:04}.png"), seed, 32, Some(run(class as usize, &class.to_string())));
        }
    }
    desk.good("compare -w a.safetensors -w b.safetensors --pictures set0 set1 set2 set3 --out report --batch 128");
    let browser = Browser::start(WINDOW, LIGHT);
    let page = desk.path("report/index.html");
    // What the browser needs for the same pictures and nothing else, while other things run on this machine.
    let plain = desk.path("plain.html");
    let image = |index: usize| {
        let row = if index.is_multiple_of(8) { "<p style='height: 190px; margin: 0'>" } else { "" };
        format!("{row}<img src=report/small/{index:04}.jpg width=137 height=137 loading=lazy decoding=async>\n")
    };
    fs::write(&plain, (0..4000).map(image).collect::<String>()).unwrap();
    let [usual, usual_late] = frames(&browser, &plain);
    let [middle, late] = frames(&browser, &page);
    let loaded = browser.script(
        "const [entry] = performance.getEntriesByType('navigation'); return Math.round(entry.domContentLoadedEventEnd)",
    );
    let timed = |what: &str| {
        browser
            .script(&format!("const begun = performance.now(); {what}; return performance.now() - begun"))
            .as_f64()
            .unwrap()
    };
    let sorted = timed("GRID.sortBy(SORTS[3]); document.body.offsetHeight");
    let searched = timed("byId('search').value = 'shark'; GRID.list(); document.body.offsetHeight");
    browser.expect("document.querySelector('#count').textContent", "2 of 1,000 classes");
    let drawn = timed("byId('search').value = ''; view('space'); SPACE.plot.paint()");
    println!(
        "4000 pictures: loaded in {loaded} ms; frames of {middle:.1} ms, 95 % below {late:.1} (plain pictures {usual:.1} and \
         {usual_late:.1}); sorted in {sorted:.0} ms, searched in {searched:.0} ms, 4000 dots in {drawn:.0} ms"
    );
    assert!(middle <= 2.0 * usual + 1.0 && late <= 2.0 * usual_late + 17.0, "{middle} and {late}");
    let slow = (usual / 16.7).max(1.0);
    assert!(sorted < 800.0 * slow && searched < 400.0 * slow && drawn < 400.0 * slow, "{sorted} {searched} {drawn}");
    quiet(&browser);
}
