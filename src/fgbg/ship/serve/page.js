// The page of `fgbg serve`. The server answers each photo once with its probabilities (a grey PNG); what is shown follows
// from them here, at once. What is downloaded is asked of the server again, so that it is exactly what `fgbg predict` writes.
import { makeZip } from "/zip.js";

const LONGEST = 1600; // edge in pixels of what is shown; downloads have the photo's own size
const AT_ONCE = 2;
const SURE = 0.9, UNSURE = 0.8; // expected Dice

const $ = (id) => document.getElementById(id);
const metadata = fetch("/metadata").then((response) => response.json());
const photos = [];
let shown = null, backdrop = null, model = null;

// Asking the server

class Refused extends Error {}

const ask = async (photo, query) => {
  for (;;) {
    const form = new FormData();
    form.append("file", photo.file, photo.file.name);
    const response = await fetch(`/predict?${new URLSearchParams(query)}`, { method: "POST", body: form }).catch(() => {
      throw new Refused("the server cannot be reached: is it still running?");
    });
    if (response.ok) return response.blob();
    if (response.status !== 429) throw new Refused((await response.json().catch(() => ({}))).detail || `the server answers ${response.status}`);
    await new Promise((wake) => setTimeout(wake, 1000));
  }
};

const explain = (error) => (error instanceof Refused ? error.message : `this browser cannot do it (${error.message})`);

/** Why a photo is not even sent; empty where it is. */
const refuse = (photo) => {
  if (photo.isFolder) return "it is a folder: drop the photos that are in it";
  return photo.file.size > model.limits.megabytes * 1e6 ? `more than ${model.limits.megabytes} megabytes: choose a smaller file` : "";
};

// The queue

const add = (files, folders = new Set()) => {
  for (const file of files) {
    const photo = { file, isFolder: folders.has(file), state: "waiting", threshold: null, item: document.createElement("li") };
    photo.item.innerHTML = '<button type="button"><canvas width="240" height="160"></canvas><span class="name"></span><span class="state"></span></button>';
    photo.item.querySelector(".name").textContent = file.name;
    photo.item.firstChild.addEventListener("click", () => show(photo));
    photos.push(photo);
    $("queue").append(photo.item);
    tell(photo, "waiting");
  }
  work();
};

const tell = (photo, state, sentence = "") => {
  Object.assign(photo, { state, sentence });
  photo.item.firstChild.className = state;
  photo.item.querySelector(".state").textContent = { waiting: "waiting", working: "working …", failed: "not possible", done: summary(photo) }[state];
  const done = photos.filter((each) => ["done", "failed"].includes(each.state)).length;
  $("count").textContent = `${done} of ${photos.length} done`;
  $("progress").max = photos.length;
  $("progress").value = done;
  $("save-all").disabled = done < photos.length || !photos.some((each) => each.state === "done");
  if (photo === shown) render();
};

const work = async () => {
  model ??= await metadata;
  const photo = photos.find((each) => each.state === "waiting");
  if (!shown && photo) show(photo); // from here on there is one: no control works on nothing
  if (!photo || photos.filter((each) => each.state === "working").length >= AT_ONCE) return;
  tell(photo, "working");
  work();
  try {
    if (refuse(photo)) throw new Refused(refuse(photo));
    photo.probability = await ask(photo, { kind: "probability" });
    await measure(photo);
    tell(photo, "done");
    if (photo === shown || shown.state === "failed") show(photo);
  } catch (error) {
    tell(photo, "failed", explain(error));
  }
  work();
};

// What is known of a photo

const thresholdOf = (photo) => photo.threshold ?? model.threshold;

/** Count, once, how many pixels have each of the 256 levels of probability; draw the small picture. */
const measure = async (photo) => {
  const { levels, picture, width, height } = await open(photo);
  photo.histogram = new Array(256).fill(0);
  for (const level of levels) photo.histogram[level]++;
  const thumb = photo.item.querySelector("canvas"), scale = Math.min(thumb.width / width, thumb.height / height);
  const size = [width * scale, height * scale];
  thumb.getContext("2d").drawImage(picture, (thumb.width - size[0]) / 2, (thumb.height - size[1]) / 2, ...size);
};

const judge = (photo) => {
  const threshold = thresholdOf(photo) * 255;
  let pixels = 0, object = 0, likely = 0, all = 0, highest = 0;
  photo.histogram.forEach((count, level) => {
    pixels += count;
    all += count * level / 255;
    if (count) highest = level / 255;
    if (level > threshold) {
      object += count;
      likely += count * level / 255;
    }
  });
  return { share: object / pixels, expected: 2 * likely / (object + all), highest };
};

const percent = (share) => (share > 0 && share < 0.01 ? "less than 1 %" : `${Math.round(share * 100)} %`);

const summary = (photo) => {
  if (!photo.histogram) return "";
  const { share, expected } = judge(photo);
  return share ? `${percent(share)} object${expected < UNSURE ? ", unsure" : ""}` : "nothing here";
};

const verdict = (photo) => {
  if (photo.state === "failed") return `Not possible: ${photo.sentence}.`;
  if (!photo.histogram) return "Working …";
  const { share, expected, highest } = judge(photo);
  if (!share) return `Nothing here: no pixel is more than ${percent(thresholdOf(photo))} likely to be object; the likeliest is ${percent(highest)}.`;
  const sure = expected >= SURE ? "It is sure of itself" : expected >= UNSURE ? "It is not quite sure: look at the outline" : "It is unsure: look closely";
  return `Object on ${percent(share)} of the photo. ${sure} (it expects a Dice of ${expected.toFixed(2)}).`;
};

// What is shown

/** The photo and its probabilities, no larger than is shown. */
const open = async (photo) => {
  const answer = await createImageBitmap(photo.probability);
  const scale = Math.min(1, LONGEST / Math.max(answer.width, answer.height));
  const width = Math.max(1, Math.round(answer.width * scale)), height = Math.max(1, Math.round(answer.height * scale));
  // Kinds of photo that the browser does not know come from the server: a cut-out in which everything is object.
  photo.picture ??= await createImageBitmap(photo.file).then(() => photo.file, () => ask(photo, { kind: "cutout", threshold: 0 }));
  const draw = (image) => {
    const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    return [canvas, context];
  };
  const [picture, context] = draw(await createImageBitmap(photo.picture));
  const grey = draw(answer)[1].getImageData(0, 0, width, height).data;
  const levels = new Uint8Array(width * height);
  for (let place = 0; place < levels.length; place++) levels[place] = grey[4 * place];
  return { picture, pixels: context.getImageData(0, 0, width, height), levels, width, height };
};

const show = async (photo) => {
  shown = photo;
  $("work").hidden = false;
  document.body.classList.add("working");
  for (const each of photos) each.item.firstChild.setAttribute("aria-current", each === photo);
  shown.opened = null;
  render();
  if (photo.state === "done") {
    const opened = await open(photo);
    if (photo !== shown) return; // another one was asked for meanwhile
    for (const each of photos) each.opened = each.soft = null; // one at a time: memory
    photo.opened = opened;
    render();
  }
};

const render = () => {
  const photo = shown, threshold = thresholdOf(photo);
  $("verdict").textContent = verdict(photo);
  $("threshold").value = Math.round(threshold * 100);
  $("threshold-said").textContent = percent(threshold);
  $("reset").disabled = photo.threshold === null;
  for (const id of ["threshold", "split", "save", "save-mask"]) $(id).disabled = photo.state !== "done";
  const view = $("view"), context = view.getContext("2d");
  view.setAttribute("aria-label", `${photo.file.name}. ${verdict(photo)}`);
  if (!photo.opened) {
    if (photo.state !== "done") view.width = view.height = 0;
    return;
  }
  const { picture, width, height } = photo.opened;
  const softened = $("soft").checked && photo.soft?.threshold === threshold ? photo.soft.cutout : null;
  if ($("soft").checked && !softened) soften(photo); // and show hard edges until then
  const cutout = softened ?? cutHard(photo.opened, threshold);
  Object.assign(view, { width, height });
  paintGround(context, width, height);
  context.drawImage(cutout, 0, 0, width, height);
  const split = Math.round(width * $("split").value / 100);
  if (split) {
    context.drawImage(picture, 0, 0, split, height, 0, 0, split, height);
    context.fillStyle = "#fff";
    context.fillRect(split - 1, 0, 2, height);
  }
};

const cutHard = ({ pixels, levels, width, height }, threshold) => {
  const cut = new ImageData(new Uint8ClampedArray(pixels.data), width, height);
  for (let place = 0; place < levels.length; place++) if (levels[place] <= threshold * 255) cut.data[4 * place + 3] = 0;
  const cutout = new OffscreenCanvas(width, height);
  cutout.getContext("2d").putImageData(cut, 0, 0);
  return cutout;
};

/** Soft edges take the server a second: one request at a time, until they are of the threshold that is shown. */
const soften = async (photo) => {
  if (photo.softening) return;
  photo.softening = true;
  while (photo === shown && $("soft").checked && photo.soft?.threshold !== thresholdOf(photo)) {
    $("said").textContent = "Softening the edges …";
    const soft = { threshold: thresholdOf(photo), cutout: null };
    try {
      soft.cutout = await createImageBitmap(await askCutout(photo));
      $("said").textContent = "";
    } catch (error) {
      $("said").textContent = explain(error);
    }
    photo.soft = soft;
    if (photo === shown) render();
  }
  photo.softening = false;
};

const groundIs = () => document.querySelector("[name=ground]:checked").value;

const paintGround = (context, width, height) => {
  if (groundIs() === "colour") {
    context.fillStyle = $("colour").value;
    context.fillRect(0, 0, width, height);
  } else if (groundIs() === "photo" && backdrop) {
    const scale = Math.max(width / backdrop.width, height / backdrop.height);
    context.drawImage(backdrop, (width - backdrop.width * scale) / 2, (height - backdrop.height * scale) / 2, backdrop.width * scale, backdrop.height * scale);
  }
};

// Downloads

const save = (blob, name) => {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};

const stem = (photo) => photo.file.name.replace(/\.[^.]*$/, "");

/** The cut-out as `fgbg predict` writes it, with hard or soft edges. */
const askCutout = (photo) => {
  const query = photo.threshold === null ? {} : { threshold: photo.threshold };
  return ask(photo, { kind: $("soft").checked ? "soft" : "cutout", ...query });
};

const makeCutout = async (photo) => {
  const exact = await askCutout(photo);
  if (groundIs() === "none" || (groundIs() === "photo" && !backdrop)) return exact;
  const image = await createImageBitmap(exact), canvas = new OffscreenCanvas(image.width, image.height);
  paintGround(canvas.getContext("2d"), image.width, image.height);
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
};

const attempt = async (button, work) => {
  button.disabled = true;
  $("said").textContent = "";
  try {
    await work();
  } catch (error) {
    $("said").textContent = explain(error);
  }
  button.disabled = false;
  render(); // which knows whether the photo that is shown by now can be downloaded
};

const saveAll = async () => {
  const done = photos.filter((photo) => photo.state === "done"), files = [], names = new Set();
  for (const photo of done) {
    $("said").textContent = `${files.length + 1} of ${done.length} …`;
    let name = stem(photo);
    for (let number = 2; names.has(name); number++) name = `${stem(photo)}-${number}`;
    names.add(name);
    files.push([`${name}.png`, new Uint8Array(await (await makeCutout(photo)).arrayBuffer())]);
  }
  $("said").textContent = "";
  save(makeZip(files), "cutouts.zip");
};

// The photo is the one that was shown at the click: while it is waited for, another may be chosen.
const saveCutout = async (photo) => save(await makeCutout(photo), `${stem(photo)}.png`);
const saveMask = async (photo) => save(await ask(photo, { kind: "mask", threshold: thresholdOf(photo) }), `${stem(photo)}-mask.png`);
$("save").addEventListener("click", () => attempt($("save"), () => saveCutout(shown)));
$("save-mask").addEventListener("click", () => attempt($("save-mask"), () => saveMask(shown)));
$("save-all").addEventListener("click", () => attempt($("save-all"), saveAll));

// Settings

$("threshold").addEventListener("input", () => {
  shown.threshold = Number($("threshold").value) / 100;
  tell(shown, shown.state);
});
$("reset").addEventListener("click", () => {
  shown.threshold = null;
  tell(shown, shown.state);
});
$("split").addEventListener("input", render);
$("soft").addEventListener("change", () => {
  $("said").textContent = "";
  if (shown) render();
});
$("colour").addEventListener("input", () => {
  document.querySelector("[value=colour]").checked = true;
  render();
});
$("ground").addEventListener("change", async () => {
  $("backdrop").hidden = groundIs() !== "photo";
  const [file] = $("backdrop").files;
  backdrop = file ? await createImageBitmap(file).catch(() => null) : null;
  $("said").textContent = file && !backdrop ? `${file.name} is not a picture that this browser can show` : "";
  if (shown) render();
});
const slide = (event) => {
  if (!event.buttons || !shown?.opened) return;
  const box = $("view").getBoundingClientRect();
  $("split").value = 100 * (event.clientX - box.left) / box.width;
  render();
};
$("view").addEventListener("pointerdown", slide);
$("view").addEventListener("pointermove", slide);

// Photos arrive

$("files").addEventListener("change", () => {
  add([...$("files").files]);
  $("files").value = "";
});
document.addEventListener("paste", (event) => add([...event.clipboardData.files]));
const drag = (over) => (event) => {
  event.preventDefault();
  document.body.classList.toggle("dragging", over);
};
document.addEventListener("dragover", drag(true));
document.addEventListener("dragleave", drag(false));
document.addEventListener("drop", (event) => {
  drag(false)(event);
  const files = [...event.dataTransfer.files], items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  add(files, new Set(files.filter((_, index) => items[index]?.webkitGetAsEntry?.()?.isDirectory)));
});
$("queue").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const next = step && photos[photos.indexOf(shown) + step];
  if (!next) return;
  event.preventDefault();
  next.item.firstChild.focus();
  show(next);
});

$("origin").textContent = location.origin;
model ??= await metadata;
$("soft-label").hidden = !model.soft_edges;
// Steps after the network worked on the mask at the model's threshold: what is seen here at another one would be wrong.
$("threshold-label").hidden = $("reset").hidden = model.refinement.length > 0;
const scored = model.validation_dice ? `, Dice ${model.validation_dice.toFixed(3)} on validation photos` : "";
$("model").textContent = `Model ${model.model}: ${model.network} trained on ${model.data}, ${model.size} px${scored}. Threshold ${percent(model.threshold)}.`;
