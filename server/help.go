package server

// HelpPath is where people find what to do when an app cannot go on by itself. The app API names it, and package web serves
// the page there.
const HelpPath = "/mfa/help"
