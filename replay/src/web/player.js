// Plays a film: frames of text that were rendered beforehand. Nothing of a recording is ever
// taken for markup: text goes into text nodes, colours into style properties, numbers into sums.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const film = JSON.parse($("film").textContent);
  const inside = $("parts") ? JSON.parse($("parts").textContent) : null;
  const screen = $("screen"), seek = $("seek"), clock = $("clock"), wall = $("wall"), toggle = $("toggle");
  const parts = new Map();
  let now = 0, playing = false, speed = 1, last = 0, quiet = 0;
  let part = -1, frame = -1, lines = [], loading = false, wanted = null;

  const load = async (number) => {
    if (parts.has(number)) return parts.get(number);
    let data;
    if (inside) {
      data = inside[number];
    } else {
      const answer = await fetch(screen.dataset.parts + number);
      if (!answer.ok) throw new Error("part " + number + " cannot be read (" + answer.status + ")");
      data = await answer.json();
    }
    if (!inside && parts.size > 16) parts.delete(parts.keys().next().value);
    parts.set(number, data);
    return data;
  };

  const run = ([text, width, front, back, looks]) => {
    const span = document.createElement("span");
    span.textContent = text;
    if (looks & 32) [front, back] = [back || "var(--back)", front || "var(--front)"];
    if (front) span.style.color = front;
    if (back) span.style.backgroundColor = back;
    if (looks & 1) span.style.fontWeight = "bold";
    if (looks & 2) span.style.opacity = "0.6";
    if (looks & 4) span.style.fontStyle = "italic";
    const lines = [looks & 8 && "underline", looks & 16 && "line-through"].filter(Boolean);
    if (lines.length) span.style.textDecoration = lines.join(" ");
    // What is no ASCII gets the columns that a terminal gives it, however wide a font makes it.
    if (!/^[ -~]*$/.test(text)) {
      span.style.display = "inline-block";
      span.style.width = width + "ch";
      span.style.overflow = "hidden";
      span.style.verticalAlign = "bottom";
    }
    return span;
  };

  const cursor = document.createElement("i");
  cursor.id = "cursor";

  const show = (data, number) => {
    let from = frame + 1;
    if (number < from || from === 0) { from = 0; lines = []; screen.replaceChildren(cursor); }
    const changed = new Map();
    for (let i = from; i <= number; i++) for (const [place, row] of data.frames[i][5]) changed.set(place, row);
    const [, cols, rows, x, y] = data.frames[number];
    while (lines.length < rows) { const line = document.createElement("div"); screen.append(line); lines.push(line); }
    while (lines.length > rows) { const line = lines.pop(); line.remove(); }
    screen.style.width = cols + "ch";
    for (const [place, row] of changed) {
      if (lines[place]) lines[place].replaceChildren(...data.rows[row].map(run));
    }
    cursor.hidden = x < 0;
    cursor.style.left = x + "ch";
    cursor.style.top = "calc(" + y + " * var(--line))";
    frame = number;
  };

  // The last frame at or before a time.
  const find = (frames, time) => {
    let low = 0, high = frames.length - 1;
    while (low < high) { const middle = (low + high + 1) >> 1; if (frames[middle][0] <= time) low = middle; else high = middle - 1; }
    return low;
  };
  const partAt = (time) => {
    let number = 0;
    while (number + 1 < film.parts.length && film.parts[number + 1] <= time) number++;
    return number;
  };

  const paint = async () => {
    if (!film.parts.length) return;
    if (loading) { wanted = now; return; }
    const number = partAt(now);
    loading = true;
    try {
      const data = await load(number);
      if (number !== part) { part = number; frame = -1; }
      const at = find(data.frames, now);
      if (at !== frame) show(data, at);
      $("told").textContent = "";
    } catch (error) {
      $("told").textContent = String(error.message || error);
      playing = false;
    }
    loading = false;
    if (wanted !== null) { wanted = null; paint(); }
  };

  const two = (n) => String(n).padStart(2, "0");
  const time = (ms) => { const s = Math.floor(ms / 1000); return Math.floor(s / 3600) + ":" + two(Math.floor(s / 60) % 60) + ":" + two(s % 60); };
  const bar = () => {
    seek.value = now;
    clock.textContent = time(now) + " / " + time(film.duration) + (film.unfinished ? " (no end)" : "");
    wall.textContent = film.started === null ? "" : new Date(film.started + now).toLocaleString();
    toggle.textContent = playing ? "pause" : "play";
    const passed = film.chapters.filter(([at]) => at <= now).pop();
    $("chapter").textContent = passed && now - passed[0] < 3000 ? passed[1]
      : now >= film.duration && film.exit !== null ? "exit " + film.exit : "";
  };
  const go = (to) => { now = Math.min(Math.max(to, 0), film.duration); quiet = now; bar(); paint(); };
  // When something changes next, as far as this part knows.
  const next = () => {
    const data = parts.get(part);
    const following = data && data.frames[frame + 1];
    return following ? following[0] : part + 1 < film.parts.length ? film.parts[part + 1] : film.duration;
  };
  const tick = (at) => {
    const passed = (at - last) * speed;
    last = at;
    if (playing && !loading) {
      let to = now + passed;
      const limit = $("idle").checked ? 2000 : Infinity;
      if (to - quiet > limit && next() > to) to = Math.max(to, next());
      const before = frame + ":" + part;
      now = Math.min(to, film.duration);
      if (now >= film.duration) playing = false;
      bar();
      paint();
      if (before !== frame + ":" + part) quiet = now;
    }
    requestAnimationFrame(tick);
  };
  const play = () => {
    if (!playing && now >= film.duration) go(0);
    playing = !playing;
    quiet = now;
    bar();
  };
  const chapter = (step) => {
    const times = film.chapters.map(([at]) => at);
    const to = step > 0 ? times.find((at) => at > now) : times.filter((at) => at < now - (playing ? 1000 : 0)).pop();
    if (to !== undefined) go(to);
  };
  const step = (by) => {
    playing = false;
    const data = parts.get(part);
    const there = data && data.frames[frame + by];
    if (there) go(there[0]);
    else if (by > 0) go(next());
    else if (part > 0) go(film.parts[part] - 1);
  };

  seek.max = film.duration;
  seek.addEventListener("input", () => go(Number(seek.value)));
  toggle.addEventListener("click", play);
  $("speed").addEventListener("change", (event) => { speed = Number(event.target.value); });
  $("idle").checked = film.idle !== null;
  for (const [at, label] of film.chapters.slice(0, 500)) {
    const item = document.createElement("button");
    item.type = "button";
    item.textContent = time(at) + " " + label;
    item.addEventListener("click", () => go(at));
    $("chapters").append(item);
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=search],select")) return;
    const keys = {
      " ": play, ArrowRight: () => go(now + (event.shiftKey ? 60000 : 5000)), ArrowLeft: () => go(now - (event.shiftKey ? 60000 : 5000)),
      ArrowUp: () => go(now + 60000), ArrowDown: () => go(now - 60000), Home: () => go(0), End: () => go(film.duration),
      "[": () => chapter(-1), "]": () => chapter(1), ".": () => step(1), ",": () => step(-1),
    };
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  const asked = Number((location.hash.match(/^#t=(\d+)$/) || [])[1] || 0);
  go(asked);
  requestAnimationFrame((at) => { last = at; tick(at); });
})();
