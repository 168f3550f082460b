'use strict';
// Where the files of the page are. CommonJS, since both builds of the library import it and only here is there a way that
// works in each of them: an ES module has no __dirname, and CommonJS has no import.meta.
module.exports = __dirname;
