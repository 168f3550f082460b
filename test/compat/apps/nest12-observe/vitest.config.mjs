import { defineConfig } from 'vitest/config';

export default defineConfig({ test: { globals: true, include: ['**/*spec.ts'], exclude: ['node_modules', 'dist'] } });
