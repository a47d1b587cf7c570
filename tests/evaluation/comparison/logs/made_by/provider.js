// A scripted model: right where RIGHT says so. `config.wrong` lists the remainders of 4 it gets wrong.
module.exports = class {
  constructor(options) { this.wrong = options.config.wrong; this.name = options.id || 'scripted'; }
  id() { return this.name; }
  async callApi(prompt) {
    const [a, b] = prompt.match(/\d+/g).map(Number);
    return { output: String(a + b + (this.wrong.includes(a % 4) ? 1 : 0)) };
  }
};
