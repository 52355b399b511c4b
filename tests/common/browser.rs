//! A browser without a window, driven through chromedriver: WebDriver is JSON over HTTP.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// Keys by WebDriver's names for them.
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
pub const LEFT: &str = "\u{e012}";
pub const UP: &str = "\u{e013}";
pub const RIGHT: &str = "\u{e014}";
pub const DOWN: &str = "\u{e015}";

/// How long the page may take until it is as awaited.
const PATIENCE: Duration = Duration::from_secs(20);

/// One window of Chromium.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    /// Address of the session.
    session: String,
}

impl Browser {
    /// Starts `chromedriver`, or what `CHROMEDRIVER` names, with a window of a size in a light or dark scheme.
    pub fn start([width, height]: [u32; 2], scheme: &str) -> Browser {
        let program = std::env::var("CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".into());
        let started = Command::new(&program).arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = started.unwrap_or_else(|error| panic!("{program}: {error}; scripts/report_browser.sh"));
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port =
            lines.find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok());
        let port: u16 = port.expect("chromedriver tells its port");
        // It goes on writing, and must not meet a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Browser { driver, agent: config.into(), session };
        // Whoever runs this as root has no sandbox; the pages are our own.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--force-device-scale-factor=1",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        } } });
        let started = browser.ask("POST", "", wanted);
        browser.session += &format!("/{}", started["sessionId"].as_str().expect("a session"));
        browser.ask("POST", "/timeouts", json!({ "script": 120_000 }));
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser.devtools("Emulation.setDeviceMetricsOverride", size);
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.devtools("Emulation.setEmulatedMedia", feature);
        browser
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let address = format!("{}{path}", self.session);
        let answer = match method {
            "POST" => self.agent.post(&address).header("Content-Type", "application/json").send(body.to_string()),
            "GET" => self.agent.get(&address).call(),
            _ => self.agent.delete(&address).call(),
        };
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = answer.body_mut().with_config().limit(1 << 28).read_to_string().unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(answer.status().is_success(), "{method} {path} {body}: {}", value["value"]["message"]);
        value["value"].clone()
    }

    fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    /// Opens a file.
    pub fn open(&self, path: &Path) {
        let path = path.canonicalize().unwrap();
        self.ask("POST", "/url", json!({ "url": format!("file://{}", path.display()) }));
    }

    /// What a function with this body returns.
    #[track_caller]
    pub fn script(&self, body: &str) -> Value {
        self.ask("POST", "/execute/sync", json!({ "script": body, "args": [] }))
    }

    /// What a function with this body gives to `done`.
    #[track_caller]
    pub fn awaited(&self, body: &str) -> Value {
        let script = format!("const done = arguments[0]; {body}");
        self.ask("POST", "/execute/async", json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is as expected.
    #[track_caller]
    pub fn expect(&self, expression: &str, expected: impl Into<Value>) {
        let (expected, begun) = (expected.into(), Instant::now());
        loop {
            let found = self.script(&format!("return {expression}"));
            if found == expected {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{expression} is {found}, not {expected}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Clicks the first element that a selector finds, as a mouse does.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let found = self.ask("POST", "/element", json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str).unwrap();
        self.ask("POST", &format!("/element/{id}/click"), json!({}));
    }

    /// Presses keys, one after another.
    pub fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key.to_string() })))
            .collect();
        self.act(json!({ "type": "key", "id": "keys", "actions": strokes }));
    }

    /// Moves the mouse to a place of the window, where it is pressed until the next place, if there is one.
    pub fn drag(&self, places: &[[f64; 2]]) {
        let to = |[x, y]: [f64; 2]| json!({ "type": "pointerMove", "duration": 50, "x": x as i64, "y": y as i64 });
        let mut steps = vec![to(places[0])];
        if let Some(&end) = places.get(1) {
            let button = |what: &str| json!({ "type": what, "button": 0 });
            steps.extend([button("pointerDown"), to(end), button("pointerUp")]);
        }
        self.act(
            json!({ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": steps }),
        );
    }

    /// Turns the mouse's wheel over a place.
    pub fn wheel(&self, [x, y]: [f64; 2], by: i64) {
        let turn = json!({ "type": "scroll", "x": x as i64, "y": y as i64, "deltaX": 0, "deltaY": by, "duration": 0 });
        self.act(json!({ "type": "wheel", "id": "wheel", "actions": [turn] }));
    }

    /// What the window shows, as a JPEG file.
    pub fn photograph(&self) -> Vec<u8> {
        let taken = self.devtools("Page.captureScreenshot", json!({ "format": "jpeg", "quality": 84 }));
        BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }

    fn act(&self, source: Value) {
        self.ask("POST", "/actions", json!({ "actions": [source] }));
    }

    /// What the page has written on its console, and the errors there; each line once.
    pub fn console(&self) -> Vec<String> {
        let lines = self.ask("POST", "/se/log", json!({ "type": "browser" }));
        lines.as_array().unwrap().iter().map(|line| line["message"].to_string()).collect()
    }

    /// Addresses of all that has been asked for; each one once.
    pub fn requests(&self) -> Vec<String> {
        let lines = self.ask("POST", "/se/log", json!({ "type": "performance" }));
        let address = |line: &Value| {
            let event: Value = serde_json::from_str(line["message"].as_str()?).ok()?;
            let sent = event["message"]["method"] == "Network.requestWillBeSent";
            sent.then(|| event["message"]["params"]["request"]["url"].as_str().map(str::to_owned)).flatten()
        };
        lines.as_array().unwrap().iter().filter_map(address).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser goes with its session; when that fails, chromedriver ends it.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
