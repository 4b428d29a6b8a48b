/* The map: shades of countries, by attributes alone. The table beside it carries the same numbers. */
"use strict";
window.secguardMap = function (element, script) {
    const world = window.secguardWorld;
    if (!element || !world) {
        return { show() {}, name: code => code };
    }
    const SVG = "http://www.w3.org/2000/svg";
    const shapes = {};
    let names = null;
    try {
        names = new Intl.DisplayNames([script.language], { type: "region" });
    } catch {
        // An old browser, or a language it does not know: the codes will do.
    }

    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", world.viewBox);
    // The map as a whole is an image with a name; its parts are for the pointer.
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("focusable", "false");

    function add(code, tag, attributes) {
        const shape = document.createElementNS(SVG, tag);
        for (const [name, value] of Object.entries(attributes)) {
            shape.setAttribute(name, value);
        }
        shape.appendChild(document.createElementNS(SVG, "title")).textContent = name(code);
        shape.addEventListener("click", () => {
            if (shapes[code].url) {
                window.location.assign(shapes[code].url);
            }
        });
        shapes[code] = { shape, url: "" };
        svg.appendChild(shape);
    }

    function name(code) {
        try {
            return (names && names.of(code)) || code;
        } catch {
            return code;
        }
    }

    for (const [code, d] of Object.entries(world.paths)) {
        add(code, "path", { d });
    }
    for (const [code, [cx, cy]] of Object.entries(world.points)) {
        add(code, "circle", { cx, cy, r: 2.2 });
    }
    element.appendChild(svg);
    element.hidden = false;

    function show(countries) {
        for (const [code, entry] of Object.entries(shapes)) {
            const [count, level, url] = countries[code] || [0, 0, ""];
            entry.url = url;
            entry.shape.classList.toggle("sgd-link", Boolean(url));
            entry.shape.firstChild.textContent = count
                ? script.texts.map.replace("%(country)s", name(code)).replace("%(count)s", count.toLocaleString(script.language))
                : name(code);
            if (level) {
                entry.shape.setAttribute("data-level", level);
            } else {
                entry.shape.removeAttribute("data-level");
            }
        }
    }

    return { show, name };
};
