// Drive: hold a key, and the world model imagines frame after frame. One request at a time over a
// websocket, so that a slow machine is asked for no more than it can do.
const PAIRS = [["a", "d"], ["s", "w"], ["q", "e"], ["f", "g"], ["h", "j"], ["k", "l"], ["n", "m"]];
const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowDown: [1, -1], ArrowUp: [1, 1] };
const DEAD = 0.15; // of a gamepad's sticks
const JUDGE_EVERY = 8; // frames

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".drive");
  if (root.session && root.session.address === data.address) return () => {};
  if (root.session) root.session.end();
  root.session = begin(root, data.address);
  return () => { root.session?.end(); root.session = null; };
}

function begin(root, address) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const picture = part("picture"), said = part("said"), slider = part("slider"), speed = part("speed");
  const held = new Set(), pressed = new Set(), tapped = new Set(); // keys; buttons under a finger; and what was touched since the last frame
  const images = [];
  let known = null, socket = null, waiting = null, shown = 0, last = 0, gripper = 0, policy = "";
  let trusts = [], chances = [], times = [], judged = 0, ended = false, loop = 0, looking = false;

  function connect() {
    socket = new WebSocket(address);
    socket.onopen = () => ask({ do: "look" }).then(ready);
    socket.onmessage = (message) => { const done = waiting; waiting = null; done?.(JSON.parse(message.data)); };
    socket.onclose = () => {
      waiting = null;
      if (!ended) tell("The connection to the world model was lost. Reload the page; over SSH, forward this port as well: " + new URL(address).port, true);
    };
  }

  /** Send a request; null while another one is under way. */
  function ask(request) {
    if (waiting || socket.readyState !== WebSocket.OPEN) return Promise.resolve(null);
    return new Promise((done) => { waiting = done; socket.send(JSON.stringify(request)); });
  }

  /** Send a request as soon as the one under way is answered. */
  async function insist(request) {
    for (;;) {
      while (waiting) await new Promise((done) => setTimeout(done, 5));
      const answer = await ask(request);
      if (answer || socket.readyState !== WebSocket.OPEN) return answer;
    }
  }

  function ready(answer) {
    if (!answer || answer.error) return tell(answer?.error || "No answer.", true);
    known = answer;
    trusts = answer.trusts;
    gripper = answer.grips ? -1 : 0;
    directions();
    const choice = part("policy");
    choice.replaceChildren(...answer.policies.map((name) => new Option(name, name)));
    part("takeover").hidden = !answer.policies.length;
    part("record").hidden = !answer.records;
    part("curve-judge").hidden = !answer.judges;
    took(answer);
    root.dataset.state = "ready";
    document.activeElement?.blur?.(); // keys drive at once, also after a start was chosen in a list
    schedule();
  }

  function directions() {
    const rows = known.axes.slice(0, PAIRS.length).map((name, axis) => row(name, PAIRS[axis], axis));
    if (known.grips) rows.push(row("gripper", ["z", "x"], "grip"));
    part("directions").replaceChildren(...rows);
  }

  function row(name, keys, axis) {
    const line = document.createElement("div");
    line.className = "row";
    const label = document.createElement("span");
    label.textContent = name;
    const made = keys.map((key, side) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.key = key;
      button.textContent = `${axis === "grip" ? "" : name + " "}${side ? "+" : "\u2212"} (${key.toUpperCase()}${arrow(axis, side)})`;
      button.setAttribute("aria-label", `${name} ${side ? "plus" : "minus"}`);
      const down = (event) => { event.preventDefault(); button.setPointerCapture?.(event.pointerId); press(key); pressed.add(key); };
      const up = () => pressed.delete(key);
      button.addEventListener("pointerdown", down);
      for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(name, up);
      return button;
    });
    line.append(made[0], label, made[1]);
    return line;
  }

  function arrow(axis, side) {
    const found = Object.entries(ARROWS).find(([, [own, way]]) => own === axis && way === (side ? 1 : -1));
    return found ? ` ${{ ArrowLeft: "\u2190", ArrowRight: "\u2192", ArrowDown: "\u2193", ArrowUp: "\u2191" }[found[0]]}` : "";
  }

  /** A key goes down: the gripper is set, and a policy that acts is relieved by any direction. */
  function press(key) {
    tapped.add(key);
    if (known?.grips && (key === "z" || key === "x")) gripper = key === "x" ? 1 : -1;
    relieve();
  }

  /** The deflection of every direction, or null if nothing is held. */
  function wanted() {
    const push = known.axes.map(() => 0);
    const down = new Set([...held, ...pressed, ...tapped]);
    let any = down.has(" ") || down.has("z") || down.has("x");
    PAIRS.slice(0, push.length).forEach(([minus, plus], axis) => {
      for (const [key, way] of [[minus, -1], [plus, 1]]) if (down.has(key)) { push[axis] += way; any = true; }
    });
    for (const [key, [axis, way]] of Object.entries(ARROWS)) if (down.has(key) && axis < push.length) { push[axis] += way; any = true; }
    for (const pad of navigator.getGamepads?.() || []) {
      if (!pad) continue;
      const sticks = [pad.axes[0], -pad.axes[1], -pad.axes[3], pad.axes[2]];
      sticks.forEach((value, axis) => { if (axis < push.length && Math.abs(value) > DEAD) { push[axis] += value; any = true; } });
      if (pad.buttons[0]?.pressed) { gripper = 1; any = true; }
      if (pad.buttons[1]?.pressed) { gripper = -1; any = true; }
    }
    const scale = Number(speed.value);
    return any ? push.map((value) => scale * Math.max(-1, Math.min(1, value))) : null;
  }

  function schedule() {
    if (ended) return;
    loop = setTimeout(turn, Math.max(0, last + 1000 / known.fps - performance.now()));
  }

  async function turn() {
    if (!waiting) {
      const push = wanted();
      if (push && policy) relieve();
      if (push || policy) {
        last = performance.now();
        tapped.clear();
        looking = false;
        const answer = await ask(policy ? { do: "step", policy } : { do: "step", push, gripper });
        if (answer?.error) { relieve(); held.clear(); tell(answer.error, true); }
        else if (answer) { took(answer); times.push(performance.now()); }
        if (known.judges && known.frame - judged >= JUDGE_EVERY) await judge();
      } else {
        last = performance.now();
        times = [];
        if (known.judges && known.frame !== judged) await judge();
      }
    }
    schedule();
  }

  async function judge() {
    judged = known.frame;
    const answer = await ask({ do: "judge" });
    if (answer?.probability) { chances = answer.probability; draw(); }
  }

  function took(answer) {
    known.frame = answer.frame;
    images.length = Math.min(images.length, answer.frame);
    images[answer.frame] = answer.image;
    trusts.length = answer.frame;
    trusts[answer.frame] = answer.trust;
    chances.length = Math.min(chances.length, answer.frame + 1);
    judged = Math.min(judged, answer.frame);
    slider.max = answer.frame;
    if (!looking) { shown = answer.frame; picture.src = answer.image; } // or someone looks at an earlier frame meanwhile
    draw();
    while (times.length > 20) times.shift();
    const rate = times.length > 1 ? (1000 * (times.length - 1)) / (times.at(-1) - times[0]) : 0;
    root.dataset.rate = rate.toFixed(1);
    const doubt = answer.trust < known.doubt ? " The picture is no longer like the recordings: return to an earlier frame." : "";
    tell(`${answer.frame ? `Frame ${answer.frame}, ${answer.driver}` : "The start: a recorded frame"}${rate ? `, ${rate.toFixed(0)} frames/s` : ""}.${doubt}`, Boolean(doubt));
  }

  function tell(text, bad = false) { said.textContent = text; said.classList.toggle("bad", bad); }

  function draw() {
    slider.value = shown;
    part("moment").textContent = `frame ${shown} of ${known.frame}`;
    part("branch").disabled = shown === known.frame;
    part("again").disabled = known.frame === 0;
    part("record").disabled = known.frame === 0;
    const trust = trusts[shown];
    root.dataset.frame = known.frame;
    part("trust").textContent = trust === undefined ? "" : trust.toFixed(2);
    part("trust").classList.toggle("bad", trust < known.doubt);
    line("curve-trust", trusts, known.doubt);
    const chance = chances[Math.min(shown, chances.length - 1)];
    part("judge").textContent = chance === undefined ? "\u2013" : chance.toFixed(2);
    line("curve-judge", chances, null);
  }

  function line(name, values, level) {
    const [path, cursor, mark] = ["path", ".cursor", ".level"].map((what) => part(name).querySelector(what));
    const x = (frame) => (known.frame ? (300 * frame) / known.frame : 0), y = (value) => 62 - 58 * value;
    path.setAttribute("d", values.map((value, frame) => `${frame ? "L" : "M"}${x(frame).toFixed(1)} ${y(value).toFixed(1)}`).join(""));
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(shown));
    if (mark && level !== null) for (const end of ["y1", "y2"]) mark.setAttribute(end, y(level));
  }

  function relieve() { policy = ""; part("act").textContent = "Let it take over (T)"; }

  async function look(frame) {
    looking = true;
    shown = Math.max(0, Math.min(frame, known.frame));
    draw();
    if (!images[shown]) {
      const answer = await insist({ do: "frame", at: shown });
      if (answer?.image) images[answer.frame] = answer.image;
    }
    if (images[shown]) picture.src = images[shown];
  }

  async function back(frame) {
    relieve();
    looking = false;
    const answer = await insist({ do: "back", at: frame });
    if (answer?.error) tell(answer.error, true); else if (answer) took(answer);
  }

  async function record() {
    const answer = await insist({ do: "record" });
    if (answer) tell(answer.error || answer.recorded, Boolean(answer.error));
  }

  const takeover = () => { if (policy) return relieve(); policy = part("policy").value; if (policy) part("act").textContent = "Take over again (T)"; };
  const actions = { again: () => back(0), branch: () => back(shown), record, act: takeover };
  for (const [name, action] of Object.entries(actions)) part(name).addEventListener("click", action);
  slider.addEventListener("input", () => look(Number(slider.value)));
  const tellSpeed = () => { part("speed-said").textContent = `${speed.value} of full speed`; };
  speed.addEventListener("input", tellSpeed);
  tellSpeed();

  /** Whether someone writes or chooses in a field of the page. */
  const elsewhere = (event) => event.composedPath().some((each) => ["TEXTAREA", "SELECT"].includes(each.tagName) || (each.tagName === "INPUT" && each.type !== "range") || each.getAttribute?.("role") === "combobox" || each.isContentEditable);
  const ours = (key) => key in ARROWS || key === " " || PAIRS.some((pair) => pair.includes(key)) || key === "z" || key === "x";
  function down(event) {
    if (!known || event.ctrlKey || event.altKey || event.metaKey || elsewhere(event)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (ours(key)) { if (!event.repeat) press(key); held.add(key); }
    else if (event.repeat) return;
    else if (key === "b") { if (shown < known.frame) back(shown); }
    else if (key === "t") takeover();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation(); // or Streamlit would take some of them for its own shortcuts
  }
  const up = (event) => { held.delete(event.key.length === 1 ? event.key.toLowerCase() : event.key); };
  const away = () => { held.clear(); pressed.clear(); tapped.clear(); };
  window.addEventListener("keydown", down, true);
  window.addEventListener("keyup", up, true);
  window.addEventListener("blur", away);

  connect();
  return {
    address,
    end() {
      ended = true;
      clearTimeout(loop);
      window.removeEventListener("keydown", down, true);
      window.removeEventListener("keyup", up, true);
      window.removeEventListener("blur", away);
      socket.close();
    },
  };
}
