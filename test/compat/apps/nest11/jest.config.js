module.exports = {
  moduleFileExtensions: ['js', 'json', 'ts'],
  testRegex: 'spec\\.ts$',
  transform: { '^.+\\.(t|j)s$': ['ts-jest', { tsconfig: process.env.TSCONFIG }] },
  testEnvironment: 'node',
};
