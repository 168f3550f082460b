/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/libs', '<rootDir>/apps', '<rootDir>/test'],
  // Not how long a test may take, but when it hangs: a busy machine is slow.
  testTimeout: 30_000,
  // `*.long.ts` are the rest of `npm run test:all`: see CONTRIBUTING.md.
  testMatch: ['**/*.spec.ts', '**/*.e2e.ts'],
  maxWorkers: '100%',
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: {
    '^nestjs-rt-sms$': '<rootDir>/libs/rt-sms/src/index.ts',
    '^nestjs-rt-sms/([\\w-]+)$': '<rootDir>/libs/rt-sms/src/$1/index.ts',
    '^nestjs-rt-sms-(testing|bullmq|otp)$': '<rootDir>/libs/rt-sms-$1/src/index.ts',
    '^nestjs-rt-sms-otp/([\\w-]+)$': '<rootDir>/libs/rt-sms-otp/src/$1/index.ts',
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
  modulePathIgnorePatterns: ['<rootDir>/.*/dist/'],
  collectCoverageFrom: ['libs/*/src/**/*.ts', '!**/*.spec.ts'],
};
