// A film with its controls below it, so that they cover no picture, and a curve that follows it.
const RATE = 8; // world frames of a film in a second
let players = []; // of the page that is shown

/** A film; `together` lists players that move as one. */
function player(film, together = []) {
  const video = el("video", { src: `${film.file}.mp4`, poster: `${film.file}.webp`, loop: true, muted: true, playsinline: true, preload: "auto", "aria-label": "Film of the episode" });
  video.muted = true;
  const last = film.frames - 1;
  const slider = el("input", { type: "range", min: 0, max: last, value: 0, "aria-label": "World frame", input: () => all((each) => each.seek(Number(slider.value))) });
  const said = el("span", { class: "frame" });
  const play = el("button", { class: "button", type: "button", click: () => (video.paused ? all((each) => each.play()) : all((each) => each.pause())) });
  const drawn = film.evidence.length > 1 ? curve(film.evidence, (frame) => all((each) => each.seek(frame))) : null;
  const me = {
    node: el("div", { class: "player" }, video, el("div", { class: "line" }, play, slider, said), drawn ? drawn.node : null),
    frame: 0,
    step: (by) => me.seek((me.frame + by + film.frames) % film.frames),
    toggle: () => play.click(),
    play: () => { const done = video.play(); if (done) done.catch(() => show()); },
    pause: () => video.pause(),
    seek(frame) {
      video.pause();
      me.frame = Math.max(0, Math.min(frame, last));
      const stand = () => { video.currentTime = (me.frame + 0.5) / RATE; }; // the middle of a frame: at its edge a browser may show the one before
      if (video.readyState >= 1) stand(); else video.addEventListener("loadedmetadata", stand, { once: true });
      show();
    },
    stop() { video.pause(); video.removeAttribute("src"); video.load(); },
  };
  function all(action) { (together.length ? together : [me]).forEach(action); }
  function show() {
    slider.value = me.frame;
    said.textContent = `frame ${me.frame} of ${last}`;
    play.textContent = video.paused ? "Play" : "Pause";
    if (drawn) drawn.at(me.frame);
  }
  function follow() {
    if (!video.paused) { me.frame = Math.min(Math.floor(video.currentTime * RATE), last); requestAnimationFrame(follow); }
    show();
  }
  video.addEventListener("play", follow);
  video.addEventListener("pause", show);
  video.addEventListener("error", () => { said.textContent = "This film cannot be played."; });
  show();
  players.push(me);
  if (together) together.push(me);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) me.play();
  return me.node;
}

/** The judge's probability by world frame; a click moves the film there. */
function curve(values, picked) {
  const [wide, tall, left, bottom] = [600, 130, 34, 20];
  const x = (frame) => left + ((wide - left - 8) * frame) / (values.length - 1);
  const y = (value) => 6 + (tall - bottom - 6) * (1 - value);
  const cursor = el("line", { class: "cursor", y1: 6, y2: tall - bottom });
  const dot = el("circle", { class: "dot", r: 4 });
  const path = values.map((value, frame) => (value === null ? "" : `${frame && values[frame - 1] !== null ? "L" : "M"}${x(frame)} ${y(value)}`)).join("");
  const node = el("svg", { class: "chart", viewBox: `0 0 ${wide} ${tall}`, role: "img", click: (event) => {
    const box = node.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * wide;
    picked(Math.round(((at - left) / (wide - left - 8)) * (values.length - 1)));
  } }, el("title", {}, "The judge's probability of success up to each frame"),
  [0, 0.5, 1].map((level) => [el("line", { class: "grid", x1: left, x2: wide - 8, y1: y(level), y2: y(level) }), el("text", { x: left - 6, y: y(level) + 4, "text-anchor": "end" }, String(level))]),
  el("path", { class: "curve", d: path }), cursor, dot, el("text", { x: left, y: tall - 4 }, "P(success) by world frame"));
  const at = (frame) => {
    const shown = Math.min(frame, values.length - 1);
    cursor.setAttribute("x1", x(shown)); cursor.setAttribute("x2", x(shown));
    dot.setAttribute("cx", x(shown)); dot.setAttribute("cy", y(values[shown] ?? 0));
  };
  return { node, at };
}
