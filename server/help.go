package server

// HelpPath is the path of the page that tells people what to do when an app cannot go on by itself. The app API names it,
// and package web serves it.
const HelpPath = "/mfa/help"
