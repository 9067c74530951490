// Package browser drives the web pages of membersync in a headless Chromium, as operators do: with
// the mouse, by keyboard only, without JavaScript, on a phone, in light and in dark mode.
//
// The pages are those of devstack, which the test starts as a process of its own. The package is a
// module of its own, since nothing else needs a browser. It needs the variables
// MEMBERSYNC_TEST_DEVSTACK and MEMBERSYNC_TEST_BINARY, the paths of both programs; without them its
// tests are skipped. MEMBERSYNC_TEST_SHOTS names a folder for screenshots.
package browser
