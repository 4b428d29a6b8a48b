/* Keeps the page up to date: asks every few seconds, while somebody looks and is logged in. */
"use strict";
(function () {
    const page = document.getElementById("secguard-dashboard");
    const settings = document.getElementById("secguard-script");
    if (!page || !settings) {
        return;
    }
    const script = JSON.parse(settings.textContent);
    const live = document.getElementById("secguard-live");
    const state = document.getElementById("secguard-state");
    const button = document.getElementById("secguard-pause");
    const news = document.getElementById("secguard-news");
    const table = document.getElementById("secguard-table");
    const chart = window.secguardChart(document.getElementById("secguard-chart"), script);
    const map = window.secguardMap(document.getElementById("secguard-map"), script);
    const LONGEST_WAIT = 300;
    const html = {};
    let timer = null, asking = null, tag = "", failures = 0, paused = false, ended = false, openThreats = null;

    const time = () => {
        const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
        try {
            return new Intl.DateTimeFormat(script.language, { ...options, timeZone: script.zone }).format(new Date());
        } catch {
            return new Intl.DateTimeFormat(script.language, options).format(new Date());
        }
    };

    function say(name, text) {
        live.dataset.state = name;
        state.textContent = text;
    }

    /* For those who hear the page: what matters, and not each number. */
    function announce(text) {
        if (news.textContent !== text) {
            news.textContent = text;
        }
    }

    function show(numbers) {
        chart.show(numbers);
        map.show(numbers.countries);
        if (openThreats !== null && numbers.open_threats !== null && numbers.open_threats !== openThreats) {
            announce(script.texts.opened.replace("%s", numbers.open_threats));
        }
        openThreats = numbers.open_threats ?? openThreats;
    }

    /* Countries in the reader's language: the site knows their English names. */
    function translate(element) {
        for (const name of element.querySelectorAll("[data-country]")) {
            if (name.textContent !== name.dataset.country && !script.language.startsWith("en")) {
                name.textContent = map.name(name.dataset.country);
            } else if (name.textContent === name.dataset.country) {
                name.title = map.name(name.dataset.country);
            }
        }
    }

    /* A panel is touched only if it says something new, and whoever stands on a link of it stays there. */
    function replace(panels) {
        for (const [name, text] of Object.entries(panels)) {
            const element = page.querySelector(`[data-panel="${name}"]`);
            if (!element || html[name] === text) {
                continue;
            }
            html[name] = text;
            const focused = element.contains(document.activeElement) ? document.activeElement : null;
            const links = () => Array.from(element.querySelectorAll("a, [tabindex]"));
            const at = focused ? links().indexOf(focused) : -1;
            const scrolled = Array.from(element.querySelectorAll(".sgd-scroll"), each => [each.scrollLeft, each.scrollTop]);
            element.innerHTML = text;
            translate(element);
            element.querySelectorAll(".sgd-scroll").forEach((each, number) => {
                [each.scrollLeft, each.scrollTop] = scrolled[number] || [0, 0];
            });
            if (focused) {
                const same = focused.textContent;
                const found = links();
                (found.find(link => link.textContent === same) || found[Math.min(at, found.length - 1)] || button).focus();
            }
        }
    }

    async function ask() {
        const query = new URLSearchParams({ window: script.numbers.window });
        if (table.open) {
            query.set("table", "1");
        }
        if (asking) {
            asking.abort();
        }
        const mine = asking = new AbortController();
        const patience = setTimeout(() => mine.abort(), 20000);
        try {
            const answer = await fetch(`${script.url}?${query}`, {
                credentials: "same-origin",
                redirect: "manual",
                cache: "no-store",
                headers: tag ? { "Accept": "application/json", "If-None-Match": tag } : { "Accept": "application/json" },
                signal: mine.signal,
            });
            if (answer.status === 401 || answer.status === 403 || answer.type === "opaqueredirect") {
                // Each further question would be one more refusal: it is over until the page is loaded anew.
                end();
                return;
            }
            if (answer.status !== 304) {
                if (!answer.ok) {
                    throw new Error(answer.statusText);
                }
                const found = await answer.json();
                if (mine !== asking) {
                    return;
                }
                tag = answer.headers.get("ETag") || "";
                replace(found.panels);
                show(found);
            }
            failures = 0;
            say("live", script.texts.updated.replace("%s", time()));
            later(script.interval);
        } catch (error) {
            if (mine !== asking || paused || document.hidden) {
                return; // stopped on purpose
            }
            failures += 1;
            const wait = Math.min(script.interval * 2 ** failures, LONGEST_WAIT);
            say("failed", script.texts.failed.replace("%s", wait));
            if (failures === 1) {
                announce(state.textContent);
            }
            later(wait);
        } finally {
            clearTimeout(patience);
        }
    }

    function later(seconds) {
        clearTimeout(timer);
        if (!paused && !ended && !document.hidden) {
            timer = setTimeout(ask, seconds * 1000);
        }
    }

    function stop() {
        clearTimeout(timer);
        if (asking) {
            const stopped = asking;
            asking = null;
            stopped.abort();
        }
        say("paused", script.texts.paused.replace("%s", time()));
    }

    function end() {
        ended = true;
        clearTimeout(timer);
        button.hidden = true;
        say("ended", script.texts.ended);
        announce(script.texts.ended);
    }

    button.addEventListener("click", () => {
        paused = !paused;
        button.textContent = paused ? script.texts.resume : script.texts.pause;
        if (paused) {
            stop();
        } else {
            ask();
        }
    });
    document.addEventListener("visibilitychange", () => {
        if (ended || paused) {
            return;
        }
        if (document.hidden) {
            stop();
        } else {
            ask();
        }
    });
    table.addEventListener("toggle", () => {
        if (table.open && !paused && !ended) {
            tag = "";
            clearTimeout(timer);
            ask();
        }
    });

    show(script.numbers);
    translate(page);
    if (script.url) {
        live.hidden = false;
        say("live", script.texts.updated.replace("%s", time()));
        later(script.interval);
    }
})();
