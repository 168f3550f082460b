import { ApiProperty } from '@nestjs/swagger';
import { IsString, MaxLength } from 'class-validator';

/** The body of `POST /sign-in`, for `/docs`. The controller checks it with `msisdnSchema`. */
export class StartSignInDto {
  @ApiProperty({ example: '+7 999 000-00-01' })
  msisdn!: string;
}

export class VerifySignInDto {
  @ApiProperty({ example: '123456' })
  @IsString()
  @MaxLength(40)
  code!: string;
}
