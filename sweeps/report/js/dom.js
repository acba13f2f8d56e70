// Elements, numbers and words that every part of the page uses.

function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function vector(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function clear(node, ...children) {
  node.replaceChildren(...children);
  return node;
}

function parsed(id) {
  const text = document.getElementById(id).textContent.trim();
  return text ? JSON.parse(text) : null;
}

// 0.9532 for a share, 33.12 for decibels.
function measure(value, metric) {
  if (value === null || value === undefined) return "unknown";
  return value.toFixed(metric === "psnr_y" ? 2 : 4);
}

// Three or four digits that matter: 0.0123, 4.56, 78.9, 1234.
function quantity(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const digits = size >= 1000 ? 0 : size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4;
  return value.toFixed(digits);
}

function signedNumber(value, digits = 0) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? "−" : "+") + text;
}

function segments(label, names, chosen, onChoose) {
  const group = element("div", { class: "segments", role: "group", "aria-label": label });
  for (const [key, name] of names) {
    const pressed = key === chosen;
    const choose = () => {
      for (const button of group.children) button.setAttribute("aria-pressed", String(button.dataset.key === key));
      onChoose(key);
    };
    group.append(element("button", { type: "button", "data-key": key, "aria-pressed": String(pressed), onclick: choose }, name));
  }
  return group;
}

function picker(label, options, chosen, onChoose) {
  const select = element("select", { onchange: () => onChoose(select.value) });
  for (const [value, name] of options) select.append(element("option", { value, selected: value === chosen }, name));
  return element("label", {}, label, select);
}
