"use strict";
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  document.documentElement.classList.add("js");

  // Paper shows what is folded up on the screen.
  let folded = [];
  addEventListener("beforeprint", () => { folded = findAll("details:not([open])"); folded.forEach((each) => { each.open = true; }); });
  addEventListener("afterprint", () => { folded.forEach((each) => { each.open = false; }); });

  // A link to something folded up opens it.
  const unfold = () => {
    const target = document.getElementById(location.hash.slice(1));
    const box = target && target.closest("details:not([open])");
    if (box) { box.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", unfold);

  // Tables: a header is a button that sorts by its column; pressed again, the other way round.
  const number = (cell) => parseFloat(cell.textContent.replace(/,/g, "").replace("−", "-"));
  findAll("table.sortable").forEach((table) => {
    const body = table.tBodies[0], original = [...body.rows], headers = findAll("thead th", table);
    headers.forEach((header, column) => {
      if (header.dataset.sort === "no") return;
      const button = make("button", { type: "button" }, ...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const numeric = header.classList.contains("n");
        const ascending = header.getAttribute("aria-sort") !== "ascending";
        headers.forEach((each) => each.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        const compare = (a, b) => {
          const [x, y] = [a.cells[column], b.cells[column]];
          if (!numeric) return x.textContent.localeCompare(y.textContent, undefined, { numeric: true });
          const [p, q] = [number(x), number(y)];
          return Number.isNaN(p) ? (Number.isNaN(q) ? 0 : 1) : Number.isNaN(q) ? -1 : (p - q) * (ascending ? 1 : -1);
        };
        const rows = [...original].sort(compare);
        if (!numeric && !ascending) rows.reverse();
        table.classList.remove("grouped");
        body.append(...rows);
      });
    });
  });

  // Curves: the values of the epoch under the pointer.
  findAll(".curve-box").forEach((box) => {
    const data = JSON.parse(box.dataset.curve), [low, high, start, end] = data.x;
    const drawing = find("svg", box), cursor = find(".cursor", box), readout = find(".readout", box.parentElement);
    const rest = readout.textContent;
    const say = (value) => (value === null ? "–" : value.toFixed(4));
    box.addEventListener("pointermove", (event) => {
      const place = drawing.getBoundingClientRect();
      const wanted = low + ((event.clientX - place.left) / place.width * drawing.viewBox.baseVal.width - start) / (end - start) * (high - low);
      let nearest = 0;
      data.epochs.forEach((epoch, at) => { if (Math.abs(epoch - wanted) < Math.abs(data.epochs[nearest] - wanted)) nearest = at; });
      const x = start + (data.epochs[nearest] - low) / (high - low) * (end - start);
      box.classList.add("reading");
      cursor.setAttribute("x1", x); cursor.setAttribute("x2", x);
      readout.textContent = `Epoch ${data.epochs[nearest]}: ${say(data.values[0][nearest])} in training, ${say(data.values[1][nearest])} in validation`;
    });
    box.addEventListener("pointerleave", () => { box.classList.remove("reading"); readout.textContent = rest; });
  });

  unfold();
  const block = document.getElementById("photos");
  if (!block) return;

  // The gallery. Its state is the address's hash, so that every filter is an ordinary link.
  const PAGE = 60;
  const { columns, metadata, photos, kinds, slices, pictures, colours } = JSON.parse(block.textContent);
  block.remove();
  const at = (key) => columns.findIndex((column) => column.key === key);
  const DICE = at("dice");
  const controls = find("#controls"), cards = find("#cards"), count = find("#count"), more = find("#more"), order = find("#order");
  const viewer = find("#viewer"), gallery = find("#gallery");
  const PRESETS = {
    worst: { sort: "dice" }, best: { sort: "dice", order: "down" }, median: { sort: "median" },
    doubt: { sort: "uncertainty", order: "down" }, label: { sort: "label_suspicion", order: "down" },
  };
  const FILTERS = ["kind", "slice", "dice", "text"];
  let state = {}, shown = [], limit = PAGE, opened = -1;

  const dices = photos.map((photo) => photo.values[DICE]).filter((value) => value !== null).sort((a, b) => a - b);
  const median = dices[Math.floor(dices.length / 2)];
  const sorts = new Map([["name", ["Name", (photo) => photo.id]], ["median", ["Nearest to the median", (photo) => (photo.values[DICE] === null ? null : Math.abs(photo.values[DICE] - median))]]]);
  columns.forEach((column, place) => {
    if (column.sortable && photos.some((photo) => photo.values[place] !== null)) sorts.set(column.key, [column.title, (photo) => photo.values[place]]);
  });
  metadata.forEach((name, place) => {
    const read = (photo) => (photo.metadata[place] === "" ? null : Number.isFinite(Number(photo.metadata[place])) ? Number(photo.metadata[place]) : photo.metadata[place]);
    sorts.set(`own:${name}`, [name, read]);
  });
  sorts.forEach(([title], key) => controls.elements.sort.append(new Option(title, key)));
  controls.elements.sort.value = "dice";
  Object.keys(kinds).filter((kind) => photos.some((photo) => photo.kind === kind)).forEach((kind) => controls.elements.kind.append(new Option(kind, kind)));
  slices.forEach((slice) => controls.elements.slice.append(new Option(slice.title, slice.key)));
  controls.hidden = false;

  const picture = (photo, part) => (photo.picture < 0 ? "" : `data:image/${["webp", "png"][part]};base64,${pictures[photo.picture][part]}`);
  const say = (value, column) => (value === null ? "–" : value.toLocaleString("en", { minimumFractionDigits: column.digits, maximumFractionDigits: column.digits }) + column.unit);

  const readHash = () => {
    const words = location.hash.slice(1).split("&");
    if (words[0] !== "gallery") return null;
    return Object.fromEntries(new URLSearchParams(words.slice(1).join("&")));
  };
  const writeHash = () => {
    const words = new URLSearchParams(Object.entries(state).filter(([, value]) => value));
    history.replaceState(null, "", `#gallery${[...words].length ? `&${words}` : ""}`);
  };

  const select = () => {
    const slice = slices.find((each) => each.key === state.slice);
    const members = slice && new Set(slice.photos);
    const [low, high] = (state.dice || "").split("-").map(Number);
    const wanted = (state.text || "").toLowerCase();
    const kept = photos.map((photo, place) => place).filter((place) => {
      const photo = photos[place], dice = photo.values[DICE];
      if (state.kind && photo.kind !== state.kind) return false;
      if (state.slice && !(members && members.has(place))) return false;
      // The last bar holds a Dice of 1; every other one ends below its upper edge.
      if (state.dice && !(dice !== null && dice >= low && (dice < high || (high >= 1 && dice <= 1)))) return false;
      return !wanted || photo.id.toLowerCase().includes(wanted);
    });
    const read = (sorts.get(state.sort || "dice") || sorts.get("dice"))[1];
    const sign = state.order === "down" ? -1 : 1;
    const keys = new Map(kept.map((place) => [place, read(photos[place])]));
    return kept.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      const gap = typeof x === "string" || typeof y === "string" ? String(x).localeCompare(String(y), undefined, { numeric: true }) : x - y;
      return sign * gap || photos[a].id.localeCompare(photos[b].id);
    });
  };

  const draw = () => {
    shown = select();
    cards.replaceChildren(...shown.slice(0, limit).map((place, number) => {
      const photo = photos[place], stack = make("span", { className: "stack" });
      if (photo.picture < 0) { stack.classList.add("empty"); stack.textContent = "no picture"; } else {
        stack.append(make("img", { src: picture(photo, 0), alt: "" }), make("img", { src: picture(photo, 1), alt: "", className: "outcome" }));
      }
      const button = make("button", { type: "button", className: "card" }, stack,
        make("span", { className: "dice", textContent: photo.values[DICE] === null ? "–" : photo.values[DICE].toFixed(3) }),
        make("span", { className: "name", textContent: photo.id, title: photo.id }), make("span", { className: "kind", textContent: photo.kind }));
      button.addEventListener("click", () => open(number));
      return make("li", {}, button);
    }));
    more.hidden = shown.length <= limit;
    more.textContent = `Show ${Math.min(PAGE, shown.length - limit)} more`;
    const labels = { kind: (value) => value, slice: (value) => (slices.find((each) => each.key === value) || { title: value }).title, dice: (value) => `Dice ${value.replace("-", " to ")}`, text: (value) => `“${value}”` };
    const chips = FILTERS.filter((name) => state[name]).map((name) => {
      const chip = make("button", { type: "button" }, `${labels[name](state[name])} ×`);
      chip.setAttribute("aria-label", `Remove the filter ${labels[name](state[name])}`);
      chip.addEventListener("click", () => change({ [name]: "" }));
      return chip;
    });
    count.replaceChildren(`${shown.length.toLocaleString("en")} of ${photos.length.toLocaleString("en")} photos`, ...chips);
    ["kind", "slice", "text"].forEach((name) => { if (controls.elements[name].value !== (state[name] || "")) controls.elements[name].value = state[name] || ""; });
    controls.elements.sort.value = sorts.has(state.sort) ? state.sort : "dice";
    const down = state.order === "down";
    order.textContent = down ? "Highest first" : "Lowest first";
    order.setAttribute("aria-pressed", down);
    findAll("[data-preset]").forEach((button) => {
      const wanted = PRESETS[button.dataset.preset];
      button.setAttribute("aria-current", (state.sort || "dice") === wanted.sort && (state.order || "") === (wanted.order || ""));
    });
  };
  const change = (values) => { Object.assign(state, values); limit = PAGE; writeHash(); draw(); };

  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", (event) => {
    const { name, value, checked } = event.target;
    if (name === "overlay") gallery.classList.toggle("no-overlay", !checked);
    else change({ [name]: value });
  });
  findAll("[data-preset]").forEach((button) => button.addEventListener("click", () => change({ order: "", ...PRESETS[button.dataset.preset] })));
  order.addEventListener("click", () => change({ order: state.order === "down" ? "" : "down" }));
  more.addEventListener("click", () => {
    const next = limit;
    limit += PAGE;
    draw();
    find("button", cards.children[next]).focus({ preventScroll: true });
  });

  // The viewer: the lab's five pictures and the outcome, put together from photo and outcome.
  const VIEWS = [["Original", "photo"], ["Prediction", "mask"], ["Truth", "mask"], ["Answer over photo", "photo"], ["Photo × prediction", "photo"], ["Photo × truth", "photo"]];
  const load = (address) => new Promise((resolve, reject) => { const image = make("img", { onload: () => resolve(image), onerror: reject, src: address }); });
  const readPixels = (image, width, height) => {
    const context = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
  // Transparency rounds colours: take the nearest one.
  const name = (r, g, b, a) => {
    if (a < 20) return 0;
    let best = 1, least = Infinity;
    for (let value = 1; value < colours.length; value += 1) {
      const gap = Math.abs(r - colours[value][0]) + Math.abs(g - colours[value][1]) + Math.abs(b - colours[value][2]);
      if (gap < least) { least = gap; best = value; }
    }
    return best;
  };
  const compose = async (photo) => {
    const [image, outcome] = await Promise.all([load(picture(photo, 0)), load(picture(photo, 1))]);
    const width = image.naturalWidth, height = image.naturalHeight;
    const pixels = readPixels(image, width, height), colour = readPixels(outcome, width, height);
    return VIEWS.map(([title, kind]) => {
      const canvas = make("canvas", { width, height, className: kind });
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${title} of ${photo.id}`);
      const context = canvas.getContext("2d"), made = context.createImageData(width, height), out = made.data;
      for (let i = 0; i < out.length; i += 4) {
        const value = name(colour[i], colour[i + 1], colour[i + 2], colour[i + 3]);
        const isObject = title.toLowerCase().endsWith("truth") ? value === 1 || value === 3 : value === 1 || value === 2;
        const tint = title.startsWith("Answer") ? colours[value][3] / 255 : 0;
        for (let channel = 0; channel < 3; channel += 1) {
          const own = pixels[i + channel];
          if (title === "Original" || title.startsWith("Answer")) out[i + channel] = own * (1 - tint) + colours[value][channel] * tint;
          else if (value === 4) out[i + channel] = 128;
          else out[i + channel] = isObject ? (kind === "mask" ? 255 : own) : 0;
        }
        out[i + 3] = 255;
      }
      context.putImageData(made, 0, 0);
      return make("figure", {}, canvas, make("figcaption", { textContent: title }));
    });
  };
  const open = async (place) => {
    opened = place;
    const photo = photos[shown[place]];
    find("#viewer-title").textContent = photo.id;
    find("#viewer-kind").textContent = [`${place + 1} of ${shown.length}`, `Dice ${say(photo.values[DICE], columns[DICE])}`, photo.kind && `${photo.kind}: ${kinds[photo.kind] || ""}`].filter(Boolean).join(" · ");
    const entries = columns.map((column, at) => [column.title, say(photo.values[at], column)]).filter(([, value]) => value !== "–");
    if (photo.group) entries.push(["Group", photo.group]);
    metadata.forEach((title, at) => { if (photo.metadata[at] !== "") entries.push([title, photo.metadata[at]]); });
    find("#numbers").replaceChildren(...entries.map(([title, value]) => make("div", {}, make("dt", { textContent: title }), make("dd", { textContent: value }))));
    // Not `disabled`: a disabled button that has the focus swallows the arrow keys.
    find("#previous").setAttribute("aria-disabled", place === 0);
    find("#next").setAttribute("aria-disabled", place === shown.length - 1);
    if (!viewer.open) viewer.showModal();
    const views = photo.picture < 0 ? [make("p", { textContent: "The picture of this photo is not in this page." })] : await compose(photo);
    if (opened === place) find("#views").replaceChildren(...views);
  };
  const step = (by) => { if (opened + by >= 0 && opened + by < shown.length) open(opened + by); };
  find("#previous").addEventListener("click", () => step(-1));
  find("#next").addEventListener("click", () => step(1));
  find("#close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) { event.preventDefault(); step(by); }
  });
  viewer.addEventListener("close", () => {
    if (opened >= limit) { limit = Math.ceil((opened + 1) / PAGE) * PAGE; draw(); }
    const card = cards.children[opened];
    if (card) find("button", card).focus();
  });

  const follow = () => {
    const wanted = readHash();
    if (!wanted) return;
    state = wanted;
    limit = PAGE;
    draw();
    gallery.scrollIntoView();
    find("#gallery-title").focus({ preventScroll: true });
  };
  addEventListener("hashchange", follow);
  draw();
  follow();
})();
