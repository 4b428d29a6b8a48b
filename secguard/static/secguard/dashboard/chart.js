/* The chart: four lines over time, by uPlot. Its colours are those of the page's theme, its times of the site's zone. */
"use strict";
window.secguardChart = function (element, script) {
    if (!element || !window.uPlot) {
        return { show() {} };
    }
    const LINES = { failed: [], succeeded: [8, 4], refused: [2, 3], blocked: [12, 3, 2, 3] };
    const DAY = 86400;
    const keys = Object.keys(LINES);
    const legend = document.getElementById("secguard-legend");
    const moment = document.getElementById("secguard-moment");
    let chart = null;
    let shown = null;

    const colour = name => getComputedStyle(element).getPropertyValue(name).trim();
    const format = options => {
        try {
            return new Intl.DateTimeFormat(script.language, { ...options, timeZone: script.zone });
        } catch {
            return new Intl.DateTimeFormat(script.language, { ...options, timeZone: "UTC" });
        }
    };
    const clock = format({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    const day = format({ month: "short", day: "numeric" });
    const whole = format({ dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
    const number = new Intl.NumberFormat(script.language);

    function label(seconds, span) {
        const date = new Date(seconds * 1000);
        if (span > 3 * DAY) {
            return day.format(date);
        }
        const text = clock.format(date);
        return text === "00:00" ? day.format(date) : text;
    }

    /* Days begin where the site has its midnight. */
    function inZone(seconds) {
        const date = new Date(seconds * 1000);
        try {
            return window.uPlot.tzDate(date, script.zone);
        } catch {
            return date;
        }
    }

    function build(numbers) {
        const axis = { stroke: () => colour("--sgd-quiet"), font: "11px system-ui, sans-serif" };
        const grid = { stroke: () => colour("--sgd-hairline"), width: 1 };
        return new window.uPlot({
            width: element.clientWidth,
            height: element.clientHeight,
            tzDate: inZone,
            legend: { show: false },
            cursor: { y: false, drag: { x: false, y: false } },
            scales: { y: { range: (_, low, high) => [0, Math.max((high || 0) * 1.1, 4)] } },
            axes: [
                { ...axis, grid, ticks: grid, size: 30, space: 70,
                  incrs: numbers.end - numbers.starts[0] > 3 * DAY ? [1, 2, 5, 7, 14].map(days => days * DAY) : undefined,
                  values: (self, splits) => splits.map(at => label(at, self.scales.x.max - self.scales.x.min)) },
                { ...axis, grid, ticks: grid, size: 56, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 1e7],
                  values: (self, splits) => splits.map(at => number.format(at)) },
            ],
            series: [{}, ...keys.map(key => ({
                stroke: () => colour(`--sgd-${key}`),
                fill: key === "failed" ? () => `${colour("--sgd-failed")}22` : undefined,
                width: 2,
                dash: LINES[key],
                points: { show: false },
            }))],
            hooks: { setCursor: [read] },
        }, data(numbers), element);
    }

    const data = numbers => [numbers.starts, ...keys.map(key => numbers.lines[key])];

    /* The numbers under the pointer, in the legend; else the sums. */
    function read(self) {
        const at = self ? self.cursor.idx : null;
        for (const item of legend.querySelectorAll("[data-line]")) {
            const values = shown.lines[item.dataset.line];
            const value = at === null || at === undefined ? values.reduce((sum, each) => sum + each, 0) : values[at];
            item.querySelector("b").textContent = number.format(value);
        }
        moment.textContent = at === null || at === undefined ? "" : whole.format(new Date(shown.starts[at] * 1000));
    }

    function show(numbers) {
        if (!numbers.lines) {
            return;
        }
        shown = numbers;
        element.hidden = false;
        if (!chart) {
            chart = build(numbers);
        } else {
            chart.setData(data(numbers));
        }
        read(chart);
    }

    /* A click on the chart opens the events of that time. */
    element.addEventListener("click", () => {
        const at = chart && chart.cursor.idx;
        if (!script.events || at === null || at === undefined) {
            return;
        }
        const time = seconds => encodeURIComponent(new Date(seconds * 1000).toISOString());
        const end = at + 1 < shown.starts.length ? shown.starts[at + 1] : shown.end;
        window.location.assign(`${script.events}?timestamp__gte=${time(shown.starts[at])}&timestamp__lt=${time(end)}`);
    });

    const redraw = () => chart && chart.redraw(false, true);
    new MutationObserver(redraw).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "class"] });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    new ResizeObserver(() => {
        if (chart && element.clientWidth) {
            chart.setSize({ width: element.clientWidth, height: element.clientHeight });
        }
    }).observe(element);

    return { show };
};
