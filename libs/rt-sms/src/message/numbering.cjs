// The CommonJS form for both builds: class-validator has loaded it already, and the ES module form is eighty more files.
// The core and the metadata apart: the files of '/max' import the metadata by a path that Jest, with the usual mapping of
// './x.js' to './x', reads as JSON.
exports.parsePhoneNumberFromString = require('libphonenumber-js/core').parsePhoneNumberFromString;
exports.metadata = require('libphonenumber-js/max/metadata');
