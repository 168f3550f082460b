/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/libs', '<rootDir>/apps', '<rootDir>/test'],
  // Not how long a test may take, but when it hangs: a busy machine is slow.
  testTimeout: 30_000,
  testMatch: ['**/*.spec.ts', '**/*.e2e.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: {
    '^nestjs-rt-sms$': '<rootDir>/libs/rt-sms/src/index.ts',
    '^nestjs-rt-sms/([\\w-]+)$': '<rootDir>/libs/rt-sms/src/$1/index.ts',
    '^nestjs-rt-sms-(testing|bullmq)$': '<rootDir>/libs/rt-sms-$1/src/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2022',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
        },
        module: { type: 'es6' },
      },
    ],
  },
  // It kills and freezes processes for minutes; `npm run test:durable` runs it.
  testPathIgnorePatterns: ['/node_modules/', '/test/durable/failures'],
  modulePathIgnorePatterns: ['<rootDir>/.*/dist/'],
  collectCoverageFrom: ['libs/*/src/**/*.ts', '!**/*.spec.ts'],
};
