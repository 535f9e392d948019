// Reads each .env file that is named, and prints all of them as one JSON list.
const fs = require('fs');
const dotenv = require('dotenv');
console.log(JSON.stringify(process.argv.slice(2).map((file) => dotenv.parse(fs.readFileSync(file)))));
