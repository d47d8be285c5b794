"use strict";

// htmx makes HTML of strings. This lets it, and refuses what makes script of them.
if (window.trustedTypes) trustedTypes.createPolicy("default", { createHTML: (text) => text });
